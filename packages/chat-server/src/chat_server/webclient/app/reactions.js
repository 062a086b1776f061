/**
 * Which reactions are mine. A message says how many reacted how, and names the first three; where there are more, the
 * server is asked once per state of a row. What I do shows at once and is taken back where it is refused.
 */
import { signal } from "../vendor/preact.js";
import { sameEmoji } from "./text/emoji.js";

const AT_ONCE = 3;
const KEPT = 500;

export class Reactions {
  #client;
  #known = new Map(); // "conversation/seq" → {rev, mine: Set, users: Map emoji → users}
  #wanted = new Map();
  #flying = 0;

  constructor(client) {
    this.#client = client;
    this.changed = signal(0);
  }

  /** The reactions of a message as `{emoji, count, mine, users?}`, what I have just done included. */
  of(message) {
    const known = this.#known.get(keyOf(message));
    const rows = (message.reactions ?? []).map(({ emoji, count, users }) => ({ emoji, count, users }));
    const me = this.#client.me?.user;
    for (const row of rows) {
      if (saysAll(row)) {
        row.mine = row.users.includes(me);
        continue;
      }
      row.mine = known?.mine.has(row.emoji) ?? Boolean(row.users?.includes(me));
      row.users = known?.users?.get(row.emoji) ?? row.users;
    }
    for (const [emoji, on] of known?.doing ?? []) {
      const row = rows.find((one) => one.emoji === emoji);
      if (row && row.mine !== on) Object.assign(row, { mine: on, count: row.count + (on ? 1 : -1) });
      else if (!row && on) rows.push({ emoji, count: 1, mine: true });
    }
    return rows.filter(({ count }) => count > 0);
  }

  /** Finds out which are mine, unless this state of the message is known. */
  ask(message) {
    if (!message.reactions?.length || message.reactions.every(saysAll) || this.#known.get(keyOf(message))?.rev >= message.rev) return;
    this.#wanted.set(keyOf(message), message);
    this.#pump();
  }

  /** Sets or takes away mine. Resolves when the server has said so; rejects with its refusal, and shows what was before. */
  async toggle(message, wanted) {
    const emoji = message.reactions?.find((row) => sameEmoji(row.emoji, wanted))?.emoji ?? wanted;
    const entry = this.#entry(message);
    const on = !this.of(message).some((row) => row.emoji === emoji && row.mine);
    entry.doing.set(emoji, on);
    this.changed.value += 1;
    try {
      await this.#client.react(message.conversation, message.seq, emoji, on);
      if (on) entry.mine.add(emoji);
      else entry.mine.delete(emoji);
      entry.users = undefined;
    } finally {
      entry.doing.delete(emoji);
      this.changed.value += 1;
    }
  }

  #entry(message) {
    const key = keyOf(message);
    const entry = this.#known.get(key) ?? { rev: 0, mine: new Set(), doing: new Map() };
    this.#known.delete(key);
    this.#known.set(key, entry); // the oldest stands first
    if (this.#known.size > KEPT) this.#known.delete(this.#known.keys().next().value);
    return entry;
  }

  async #pump() {
    if (this.#flying >= AT_ONCE) return;
    const [key, message] = this.#wanted.entries().next().value ?? [];
    if (!message) return;
    this.#wanted.delete(key);
    this.#flying += 1;
    try {
      const { conversation, seq } = message;
      const { reactions } = await this.#client.call("message.reactions", { conversation, seq });
      const entry = this.#entry(message);
      entry.rev = message.rev;
      entry.users = new Map(reactions.map(({ emoji, users }) => [emoji, users]));
      entry.mine = new Set(reactions.filter(({ users }) => users.includes(this.#client.me.user)).map(({ emoji }) => emoji));
      this.changed.value += 1;
    } catch {
      // shown as not mine; asked again with the message's next state
    } finally {
      this.#flying -= 1;
      this.#pump();
    }
  }
}

/** Whether a message names everybody who reacted so. */
const saysAll = ({ count, users }) => users?.length >= count;

const keyOf = ({ conversation, seq }) => `${conversation}/${seq}`;
