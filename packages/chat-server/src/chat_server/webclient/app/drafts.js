/**
 * What somebody has begun to write, per conversation: `{text, mentions, reply?}`. A draft belongs to a user: another
 * one never sees it, and with his logout it is gone. Kept in localStorage, which writes before the page can go away and
 * tells the other tabs.
 */
import { signal } from "../vendor/preact.js";

const PREFIX = "interesting-chat.draft.";
const LONGEST = 40_000;

export class Drafts {
  #prefix;
  #held = new Map();
  #listen;

  constructor(user) {
    this.#prefix = `${PREFIX}${user}.`;
    /** Changes whenever a draft has: the number says nothing else. */
    this.changed = signal(0);
    /** Ids of those that another tab has changed last. */
    this.elsewhere = signal(undefined);
    this.#read();
    this.#listen = ({ key, newValue }) => {
      if (!key?.startsWith(this.#prefix)) return;
      const id = key.slice(this.#prefix.length);
      const draft = parsed(newValue);
      if (draft) this.#held.set(id, draft);
      else this.#held.delete(id);
      this.changed.value += 1;
      this.elsewhere.value = { id };
    };
    addEventListener("storage", this.#listen);
  }

  get(id) {
    return this.#held.get(id);
  }

  /** @param {{text: string, mentions: object[], reply?: object} | undefined} draft an empty one is none */
  set(id, draft) {
    const kept = draft && (draft.text || draft.reply) && draft.text.length <= LONGEST ? draft : undefined;
    if (kept) this.#held.set(id, kept);
    else if (!this.#held.delete(id)) return;
    try {
      if (kept) localStorage.setItem(this.#prefix + id, JSON.stringify(kept));
      else localStorage.removeItem(this.#prefix + id);
    } catch {
      // a full or forbidden storage: it lasts as long as the page
    }
    this.changed.value += 1;
  }

  /** The session is over. */
  close() {
    removeEventListener("storage", this.#listen);
    this.#held.clear();
  }

  /** The user has logged out of this browser: nothing of his stays. */
  static forget(user) {
    for (const key of keys()) if (key.startsWith(`${PREFIX}${user}.`)) localStorage.removeItem(key);
  }

  #read() {
    for (const key of keys()) {
      if (!key.startsWith(this.#prefix)) continue;
      const draft = parsed(localStorage.getItem(key));
      if (draft) this.#held.set(key.slice(this.#prefix.length), draft);
    }
  }
}

function keys() {
  try {
    return Object.keys(localStorage);
  } catch {
    return [];
  }
}

function parsed(text) {
  try {
    const { text: said, mentions, reply } = JSON.parse(text);
    return typeof said === "string" && Array.isArray(mentions) ? { text: said, mentions, reply } : undefined;
  } catch {
    return undefined;
  }
}
