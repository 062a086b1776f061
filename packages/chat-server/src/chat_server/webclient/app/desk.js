/**
 * What one session of one user has on the page. It is made with the session and closed with it: drafts, edits, typing
 * notes, reactions, listeners. Nothing of it is found by the next person who logs in here.
 */
import { signal } from "../vendor/preact.js";
import { Drafts } from "./drafts.js";
import { titleOf, nameOf } from "./people.js";
import { Reactions } from "./reactions.js";
import { toast } from "./views/toast.js";
import { errorText, t } from "./words.js";

/** So long somebody is shown as typing after a note. */
const TYPING_SHOWN = 5000;

export class Desk {
  #stops = [];
  #timers = new Set();
  #typing = new Map(); // conversation → Map user → until

  constructor(client) {
    this.client = client;
    this.user = client.me.user;
    this.drafts = new Drafts(this.user);
    /** Edits that were begun and not ended, by conversation: `{seq, text, mentions}`. Never drafts. */
    this.edits = new Map();
    this.reactions = new Reactions(client);
    /** Changes whenever somebody begins or ends to type. */
    this.typed = signal(0);
    /** Whether the panel beside the conversation is open. */
    this.panel = signal(false);
    this.listen("note", ({ event, data }) => event === "typing" && this.#wrote(data));
    this.listen("message", ({ conversation, sender }) => this.#typing.get(conversation)?.delete(sender));
  }

  /** Hears the client for as long as the session lives. */
  listen(event, act) {
    this.#stops.push(this.client.on(event, act));
  }

  close() {
    for (const stop of this.#stops) stop();
    for (const timer of this.#timers) clearTimeout(timer);
    this.drafts.close();
  }

  /** Does what may be refused, and says so. Resolves to its result, or undefined. */
  async attempt(act) {
    try {
      return await act();
    } catch (error) {
      this.say(errorText(error));
      return undefined;
    }
  }

  say(text, options) {
    toast(text, options);
  }

  /** Set by the page: opens somebody's card. */
  profile = () => {};

  typing(id) {
    const now = Date.now();
    const users = [...(this.#typing.get(id) ?? [])].filter(([, until]) => until > now).map(([user]) => user);
    if (users.length === 0) return "";
    if (this.client.conversation(id)?.kind === "direct") return t("typing.direct");
    return users.length === 1 ? t("typing.one", nameOf(this.client, users[0])) : t("typing.many");
  }

  #wrote({ conversation, user }) {
    if (user === this.user) return;
    if (!this.#typing.has(conversation)) this.#typing.set(conversation, new Map());
    this.#typing.get(conversation).set(user, Date.now() + TYPING_SHOWN);
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      this.typed.value += 1;
    }, TYPING_SHOWN + 50);
    this.#timers.add(timer);
    this.typed.value += 1;
  }
}

/** Conversations whose title has the query in it, best first; hidden ones too. */
export function findConversations(client, query) {
  const wanted = query.toLowerCase();
  const hidden = [...client.replica.conversations.values()].filter((one) => one.hidden);
  return [...client.list(), ...hidden].filter((one) => titleOf(client, one).toLowerCase().includes(wanted));
}
