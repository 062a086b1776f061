/**
 * What a client holds of one conversation: one unbroken window of messages, and how far its state reaches (`rev`).
 *
 * Rows are states: a row replaces what is held when its `rev` is higher, in whatever order rows come. Whether
 * something is missing is told by `rev` alone: `owed` says that the conversation must be synced.
 */

/** More than this is not kept in memory; the far end is let go and loaded again when it is scrolled to. */
export const WINDOW = 4000;

export class Timeline {
  constructor() {
    this.rev = undefined; // undefined: nothing loaded yet
    this.seen = 0; // the highest rev heard of
    this.resync = false; // a sync is owed whatever the revs say
    this.messages = []; // ascending seq
    this.atStart = false;
    this.atEnd = false;
    this.want = { page: "newest" }; // the page to load next: newest, older, newer, or around {seq}
    this.loading = false;
    this.loose = new Map(); // rows outside the window that came while a page was on its way
    this.absent = new Set(); // seqs that were asked for and that nobody has
    this.doubted = true; // whether there may be a gap: rows have come otherwise than one after the other
    this.first = 1; // what lies before it does not exist for me (any more)
    this.quotesFrom = 1; // what was said before it is not quoted any more: it was deleted
  }

  /** There is nothing before this number (any more); answers whether that is new. */
  beginAt(first) {
    if (!(first > this.first)) return false;
    this.first = first;
    const gone = this.indexOf(first);
    const begins = this.messages.length > 0 && this.messages[0].seq <= first;
    this.messages.splice(0, gone);
    if (begins) this.atStart = true;
    if (gone > 0 && this.messages.length === 0 && !this.atEnd) this.want ??= { page: "newest" };
    return true;
  }

  /** Whether this message has come, or has come and gone: it was deleted. */
  settled(seq) {
    return seq < this.first || this.get(seq) !== undefined;
  }

  /** What was said before this one was deleted, and is quoted by nobody any more. */
  forgetQuotes(before) {
    this.quotesFrom = Math.max(this.quotesFrom, before);
    this.messages = this.messages.map((message) => this.#shown(message));
  }

  #shown(message) {
    if (!(message.reply_to?.seq < this.quotesFrom)) return message;
    const { reply_to: _, ...rest } = message;
    return rest;
  }

  get owed() {
    return this.rev !== undefined && (this.resync || this.rev < this.seen);
  }

  /** A pushed change stamped `rev` that covers everything after `since`: whether its rows are to be applied. */
  step(rev, since = rev - 1) {
    this.seen = Math.max(this.seen, rev);
    if (this.rev === undefined || rev <= this.rev || since > this.rev) return false;
    this.rev = rev;
    return true;
  }

  /** Puts one row where it belongs; answers whether the window has changed. */
  apply(row) {
    if (row.seq < this.first) return false;
    const { messages } = this;
    const message = this.#shown(row);
    const last = messages.at(-1);
    if (messages.length === 0 || message.seq > last.seq) {
      if (!this.atEnd) return this.#keepLoose(message);
      if (last && message.seq !== last.seq + 1) this.doubted = true;
      messages.push(message);
      if (messages.length > WINDOW + 200) {
        messages.splice(0, messages.length - WINDOW);
        this.atStart = false;
      }
      return true;
    }
    // A sync brings rows in the order of their stamps: the first message may come after later ones.
    if (message.seq < messages[0].seq && !this.atStart) return this.#keepLoose(message);
    const index = this.indexOf(message.seq);
    if (messages[index].seq !== message.seq) {
      messages.splice(index, 0, message);
      this.doubted = true;
    }
    else if (messages[index].rev < message.rev) messages[index] = message;
    else return false;
    return true;
  }

  /**
   * The first run of seqs `{from, to}` that should be held and are not, or undefined. Asked when no sync is owed: up to
   * `rev` every change has come, so that a number missing between two that are held is lost; and so is the newest one,
   * where `rev` has passed the head's.
   * @param {number[][]} spans what of the conversation I may see; @param {{seq: number, rev: number}} head its newest
   */
  gap(spans, head) {
    if (this.rev === undefined || this.owed || this.loading) return undefined;
    const { messages } = this;
    const last = messages.at(-1);
    const end = this.atEnd && last && head.rev <= this.rev ? head.seq : (last?.seq ?? 0);
    if (!last || (!this.doubted && last.seq >= end)) return undefined;
    this.doubted = false;
    for (let index = 1; index <= messages.length; index += 1) {
      const from = messages[index - 1].seq + 1;
      const to = index < messages.length ? messages[index].seq - 1 : end;
      for (let seq = from; seq <= to; seq += 1) {
        if (this.absent.has(seq) || !within(spans, seq)) continue;
        let until = seq;
        while (until < to && !this.absent.has(until + 1) && within(spans, until + 1)) until += 1;
        this.doubted = true; // there may be more of them
        return { from: seq, to: until };
      }
    }
    return undefined;
  }

  /** These were asked for: what is still not there exists for nobody. */
  settle(from, to) {
    for (let seq = from; seq <= to; seq += 1) if (!this.get(seq)) this.absent.add(seq);
  }

  /** The index of the first message whose seq is at least `seq`. */
  indexOf(seq) {
    let low = 0;
    let high = this.messages.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.messages[middle].seq < seq) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  get(seq) {
    const message = this.messages[this.indexOf(seq)];
    return message?.seq === seq ? message : undefined;
  }

  /** A `history` answer has come for the page that was wanted. */
  loaded(page, { messages, first_seq: first, head }) {
    this.beginAt(first);
    const rows = messages
      .filter((row) => row.seq >= this.first)
      .map((row) => (this.loose.get(row.seq)?.rev > row.rev ? this.loose.get(row.seq) : row));
    if (page === "older") {
      this.messages = [...rows.filter((row) => row.seq < (this.messages[0]?.seq ?? Infinity)), ...this.messages];
      this.atStart = rows.length === 0 || rows[0].seq <= this.first;
      if (this.messages.length > WINDOW) {
        this.messages.length = WINDOW;
        this.atEnd = false;
      }
    } else if (page === "newer") {
      this.messages = [...this.messages, ...rows.filter((row) => row.seq > (this.messages.at(-1)?.seq ?? 0))];
      this.atEnd = rows.length === 0 || rows.at(-1).seq >= head.seq;
      if (this.messages.length > WINDOW) {
        this.messages.splice(0, this.messages.length - WINDOW);
        this.atStart = false;
      }
    } else {
      this.messages = rows;
      this.atStart = rows.length === 0 || rows[0].seq <= this.first;
      this.atEnd = page === "newest" || rows.length === 0 || rows.at(-1).seq >= head.seq;
      this.rev = head.rev;
      this.resync = false;
      // All around was deleted just now.
      if (page === "around" && rows.length === 0 && head.seq >= this.first) this.want = { page: "newest" };
    }
    this.loading = false;
    this.doubted = true;
    if (this.atEnd) {
      const end = this.messages.at(-1)?.seq ?? 0;
      const later = [...this.loose.values()].filter((row) => row.seq > end).sort((a, b) => a.seq - b.seq);
      this.messages.push(...later);
    }
    this.loose.clear();
  }

  #keepLoose(message) {
    if (this.loading && !(this.loose.get(message.seq)?.rev >= message.rev)) this.loose.set(message.seq, message);
    return false;
  }
}

/** Whether a seq lies in one of the spans; without spans everything may be seen. */
function within(spans, seq) {
  return !spans || spans.some(([from, to]) => seq >= from && (to === undefined || seq <= to));
}
