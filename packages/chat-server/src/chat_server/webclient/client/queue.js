/**
 * Messages on their way out: kept until the server's receipt, in order per conversation, once per ref.
 *
 * The queue decides, its storage remembers (see storage.js), somebody else sends. An entry is
 * `{ref, n, user, tab, conversation, kind, body, reply_to?, mentions?, at, state, kept?, error?, seq?, rev?}` with the
 * states queued → sending → sent (receipt known, echo not yet seen) or failed (waits for `retry` or `discard`); `kept`:
 * whether it survives a reload, absent until the storage has answered.
 */

/** Errors that another try may not meet: the entry stays queued. Every other error is for the person. */
const PASSING = new Set(["rate_limited", "unavailable", "internal", "closed", "not_authenticated"]);
const FIRST_WAIT = 1000;
const LONGEST_WAIT = 30000;

export class SendQueue {
  #storage;
  #kept;

  /**
   * @param {{load(user: string): Promise<object[]>, put(entry: object): Promise<boolean>, delete(ref: string): void}} storage
   * @param owner `kept(entry)` is told when an entry's `kept` is known
   */
  constructor(storage, { user, tab, kept = () => {} }) {
    this.#storage = storage;
    this.#kept = kept;
    this.user = user;
    this.tab = tab;
    this.entries = new Map(); // ref → entry, in order of n
    this.waiting = new Map(); // conversation → {until, tries}: not before
    this.last = 0;
  }

  /** Takes over what earlier lives of this user left behind, except what a living tab still owns; ends when it is kept. */
  async adopt(living = new Set()) {
    const found = await this.#storage.load(this.user);
    const mine = [...this.entries.values()];
    const owned = [];
    this.entries.clear();
    for (const entry of found.sort((a, b) => a.n - b.n)) {
      if (entry.tab === this.tab || living.has(entry.tab)) continue;
      const adopted = { ...entry, tab: this.tab, state: entry.state === "failed" ? "failed" : "queued", kept: true };
      this.entries.set(entry.ref, adopted);
      this.last = Math.max(this.last, entry.n);
      owned.push(this.#storage.put(adopted));
    }
    for (const entry of mine) this.entries.set(entry.ref, entry);
    await Promise.all(owned);
  }

  /** Appends a message; the same ref twice is one message. */
  add(message, now) {
    const known = this.entries.get(message.ref);
    if (known) return known;
    this.last = Math.max(this.last + 1, now); // grows over reloads and tabs, for the order after an adoption
    const entry = { ...message, user: this.user, tab: this.tab, n: this.last, at: now, state: "queued" };
    this.entries.set(entry.ref, entry);
    this.#keep(entry);
    return entry;
  }

  /** What to submit now: the oldest of each conversation, one at a time. Marks them as sending. */
  take(now) {
    const due = [];
    const busy = new Set();
    for (const entry of this.entries.values()) {
      if (busy.has(entry.conversation) || entry.state === "sent" || entry.state === "failed") continue;
      busy.add(entry.conversation);
      if (entry.state !== "queued" || (this.waiting.get(entry.conversation)?.until ?? 0) > now) continue;
      entry.state = "sending";
      due.push(entry);
    }
    return due;
  }

  /** When the next waiting conversation may be tried again, or undefined. */
  deadline() {
    let next;
    for (const entry of this.entries.values()) {
      if (entry.state !== "queued") continue;
      const until = this.waiting.get(entry.conversation)?.until ?? 0;
      next = next === undefined ? until : Math.min(next, until);
    }
    return next;
  }

  /** The receipt has come: nothing needs to survive a reload any more. */
  sent(ref, receipt) {
    const entry = this.entries.get(ref);
    if (!entry) return;
    entry.state = "sent";
    entry.seq = receipt.seq;
    entry.rev = receipt.rev;
    this.waiting.delete(entry.conversation);
    this.#storage.delete(ref);
  }

  /** The message itself has been seen in the conversation, which is as good as a receipt. */
  seen(ref) {
    if (this.entries.delete(ref)) this.#storage.delete(ref);
  }

  refused(ref, error, now) {
    const entry = this.entries.get(ref);
    if (!entry || entry.state === "sent") return;
    if (PASSING.has(error.code)) {
      const tries = (this.waiting.get(entry.conversation)?.tries ?? 0) + 1;
      const wait = error.retryAfter ? error.retryAfter * 1000 : Math.min(LONGEST_WAIT, FIRST_WAIT * 2 ** (tries - 1));
      this.waiting.set(entry.conversation, { until: now + wait * (1 + Math.random() / 4), tries });
      entry.state = "queued";
    } else {
      entry.state = "failed";
      entry.error = facts(error, now);
      this.#storage.put(entry);
    }
  }

  /** A failed entry goes to the end of its conversation's line, under its old ref: only a success spends one. */
  retry(ref, now) {
    const entry = this.entries.get(ref);
    if (entry?.state !== "failed") return;
    this.entries.delete(ref);
    this.last = Math.max(this.last + 1, now);
    Object.assign(entry, { state: "queued", n: this.last, at: now, error: undefined });
    this.entries.set(ref, entry);
    this.#storage.put(entry);
  }

  discard(ref) {
    if (this.entries.get(ref)?.state === "failed") this.seen(ref);
  }

  /** Whether a reload would lose something now. */
  get fleeting() {
    return [...this.entries.values()].some(({ state, kept }) => state !== "sent" && !kept);
  }

  async #keep(entry) {
    entry.kept = (await this.#storage.put(entry)) === true;
    this.#kept(entry);
  }

  of(conversation) {
    return [...this.entries.values()].filter((entry) => entry.conversation === conversation);
  }
}

/** What is remembered of a refusal: its code and what it is about, and until when it holds. */
export function facts({ code = "internal", message, field, limit, retryAfter }, now) {
  const error = { code, message };
  if (field !== undefined) error.field = field;
  if (limit !== undefined) error.limit = limit;
  if (retryAfter !== undefined) error.until = now + retryAfter * 1000;
  return error;
}
