/**
 * The scrolling part of a conversation: a bounded slice of its messages as elements, whatever its length.
 *
 * Elements come and go at both ends while what the person looks at keeps its place on the screen: before every
 * change one visible row is remembered, afterwards the scroll position is corrected by how far that row has moved.
 */
import { h, perFrame } from "./dom.js";
import { dayRow, messageRow, newRow } from "./bubble.js";
import { dayOf, t } from "./words.js";

/** At most so many messages are elements at a time, and so many are added at once. */
const SLICE = 160;
const STEP = 50;
/** How near an end must be, in pixels, before more is shown or loaded. */
const NEAR = 800;
const GROUP_SPAN = 5 * 60 * 1000;
/** Pictures in one row at most. */
const TILES = 9;

export class Scroller {
  #client;
  #id;
  #acts;
  #top; // seq of the first message shown; undefined: as far back as the slice reaches
  #bottom; // seq of the last one; undefined: up to the newest
  #stick = true;
  #rows = new Map(); // key → {element, signature}
  #newFrom;
  #target; // {seq, place}: scroll there once it is loaded
  #content = h("div.timeline-content", { role: "list" });
  #observer;
  #closed = false;

  /** @param told `{seen(seq), bottom(atBottom)}` */
  constructor(client, id, acts, told) {
    this.#client = client;
    this.#id = id;
    this.#acts = acts;
    this.told = told;
    this.element = h("div.timeline", { tabindex: "-1" }, this.#content);
    this.element.addEventListener("scroll", perFrame(() => this.#scrolled()), { passive: true });
    this.element.addEventListener("keydown", (event) => this.#key(event));
    this.#observer = new ResizeObserver(() => this.#stick && this.toBottom());
    this.#observer.observe(this.element);
    this.#observer.observe(this.#content);
    this.update = perFrame(() => this.render());
    const conversation = client.conversation(id);
    if (conversation.unread > 0) {
      this.#newFrom = conversation.floor + 1;
      this.#target = { seq: this.#newFrom, place: "new" };
      this.#stick = false;
    }
  }

  close() {
    this.#closed = true; // a frame may still be owed, in a hidden tab for long
    this.#observer.disconnect();
  }

  get atBottom() {
    const { element } = this;
    return this.#bottom === undefined && element.scrollHeight - element.scrollTop - element.clientHeight < 40;
  }

  toBottom() {
    this.element.scrollTop = this.element.scrollHeight;
  }

  /** To the newest message, wherever one is. */
  toNewest() {
    this.#top = this.#bottom = this.#target = undefined;
    this.#stick = true;
    if (this.#timeline && !this.#timeline.atEnd) this.#client.want(this.#id, "newest");
    this.render();
  }

  /** To one message; loads around it where it is not at hand. */
  toMessage(seq) {
    this.#target = { seq, place: "flash" };
    this.#stick = false;
    if (this.#timeline?.get(seq)) this.#aim(seq);
    else this.#client.want(this.#id, "around", seq);
    this.render();
  }

  /** Draws the line above this message unless one is there already. */
  markNew(seq) {
    this.#newFrom ??= seq;
  }

  clearNew() {
    this.#newFrom = undefined;
  }

  /** The focusable part of a row `{message?, entry?}`, where it is on the page. */
  elementOf({ message, entry }) {
    const said = message && this.#content.querySelector(`[data-seq="${Number(message.seq)}"]`)?.closest(".row");
    return (said ?? this.#rows.get(`ref:${entry?.ref}`)?.element)?.firstElementChild;
  }

  focusLast() {
    const rows = this.#focusable();
    rows.at(-1)?.focus();
  }

  render() {
    if (this.#closed) return;
    const anchor = this.#stick ? undefined : this.#anchor();
    this.#reconcile(this.#plan());
    if (this.#target && this.#reach()) return;
    if (this.#stick) this.toBottom();
    else if (anchor) this.#restore(anchor);
    this.#look();
  }

  get #timeline() {
    return this.#client.conversation(this.#id)?.timeline;
  }

  // ---- what is shown ----

  #plan() {
    const timeline = this.#timeline;
    if (!timeline || timeline.rev === undefined) return [{ key: "loading", build: () => h("div.notice", t("loading")) }];
    const { messages, pending } = this.#client.messages(this.#id);
    if (this.#target && timeline.get(this.#target.seq)) this.#aim(this.#target.seq);
    let end = this.#bottom === undefined ? messages.length : timeline.indexOf(this.#bottom + 1);
    let start = this.#top === undefined ? Math.max(0, end - STEP * 2) : timeline.indexOf(this.#top);
    if (end - start > SLICE) {
      if (this.#stick || this.#bottom !== undefined) start = end - SLICE;
      else end = start + SLICE;
    }
    if (start >= end) end = Math.min(messages.length, start + SLICE); // the window was replaced meanwhile
    if (start >= end) start = Math.max(0, end - SLICE);
    this.#top = messages[start]?.seq;
    this.#bottom = end === messages.length ? undefined : messages[end - 1]?.seq;
    const rows = [];
    if (start === 0) {
      if (timeline.atStart) rows.push({ key: "start", build: () => h("div.notice", t("start.of")) });
      else rows.push({ key: "older", build: () => h("div.notice", t("loading")) });
    }
    const live = this.#bottom === undefined;
    const said = [
      ...messages.slice(start, end).map((message) => ({ message })),
      ...(live ? pending.map((entry) => ({ entry })) : []),
    ];
    this.#lines(said, messages[start - 1], rows);
    if (!timeline.atEnd && end === messages.length) rows.push({ key: "newer", build: () => h("div.notice", t("loading")) });
    return rows;
  }

  #lines(said, before, rows) {
    const conversation = this.#client.conversation(this.#id);
    const me = this.#client.me.user;
    let previous = before && { sender: before.sender, time: before.time, plain: isPlain(before) };
    const lines = said.map(({ message, entry }) => {
      const mine = entry !== undefined || message.sender === me;
      const time = entry ? entry.at : message.time;
      const line = { message, entry, mine, time, sender: mine ? me : message.sender, plain: isPlain(message ?? entry) };
      line.state = entry ? stateOf(entry) : mine && message.seq <= conversation.peerRead ? "read" : "sent";
      return line;
    });
    const grouped = albums(lines, this.#newFrom);
    grouped.forEach((line, index) => {
      const day = dayOf(line.time);
      const newDay = !previous || dayOf(previous.time) !== day;
      const isNew = line.message !== undefined && line.message.seq === this.#newFrom; // nothing unread: nothing is new
      if (newDay) rows.push({ key: `day:${day}:${line.message?.seq ?? line.entry.ref}`, build: () => dayRow(line.time) });
      if (isNew) rows.push({ key: "new", build: newRow });
      line.first = newDay || isNew || !together(previous, line);
      const next = grouped[index + 1];
      line.last = !next || !together(line, next) || dayOf(next.time) !== day;
      rows.push({
        key: line.mine ? `ref:${(line.tiles?.[0] ?? line.message ?? line.entry).ref}` : `seq:${(line.tiles?.[0] ?? line.message).seq}`,
        seq: line.message?.seq,
        signature: signature(this.#client, conversation, line),
        build: () => messageRow(this.#client, conversation, line, this.#acts),
      });
      previous = line;
    });
  }

  #reconcile(plan) {
    const wantedKeys = new Set(plan.map(({ key }) => key));
    for (const [key, { element }] of this.#rows) if (!wantedKeys.has(key)) element.remove();
    const kept = new Map();
    const focused = document.activeElement?.closest?.(".timeline-content > *");
    let focusKey;
    let next = this.#content.firstChild;
    for (const { key, seq, signature: wanted, build } of plan) {
      let row = this.#rows.get(key);
      if (!row || row.signature !== wanted) {
        const element = h("div.row", { role: "listitem" }, build());
        element.dataset.key = key;
        if (seq !== undefined) element.dataset.seq = seq;
        if (row) {
          if (row.element === focused) focusKey = key;
          if (row.element === next) next = element;
          row.element.replaceWith(element);
        }
        row = { element, signature: wanted };
      }
      if (row.element === next) next = next.nextSibling;
      else this.#content.insertBefore(row.element, next);
      kept.set(key, row);
    }
    this.#rows = kept;
    if (focusKey) kept.get(focusKey).element.firstElementChild.focus({ preventScroll: true });
  }

  // ---- where one looks ----

  /** The first visible rows, and how far below the upper edge each begins. One of them will still be there. */
  #anchor() {
    const edge = this.element.getBoundingClientRect().top;
    const found = [];
    for (const element of this.#content.children) {
      const box = element.getBoundingClientRect();
      if (box.bottom <= edge + 1 || element.dataset.seq === undefined) continue;
      found.push({ key: element.dataset.key, below: box.top - edge });
      if (found.length === 5) break;
    }
    return found;
  }

  #restore(anchors) {
    const anchor = anchors.find(({ key }) => this.#rows.has(key));
    if (!anchor) return;
    const { below } = anchor;
    const row = this.#rows.get(anchor.key);
    const edge = this.element.getBoundingClientRect().top;
    const moved = row.element.getBoundingClientRect().top - edge - below;
    if (Math.abs(moved) >= 1) this.element.scrollTop += moved;
  }

  /** Makes the slice hold this message. */
  #aim(seq) {
    const { messages } = this.#timeline;
    const index = this.#timeline.indexOf(seq);
    this.#top = messages[Math.max(0, index - STEP)].seq;
    const end = Math.min(messages.length, index + STEP);
    this.#bottom = end === messages.length ? undefined : messages[end - 1].seq;
  }

  #reach() {
    const { seq, place } = this.#target;
    const timeline = this.#timeline;
    if (!timeline || timeline.rev === undefined || timeline.loading) return false;
    const element = this.#content.querySelector(`[data-seq="${Number(seq)}"]`);
    this.#target = undefined;
    if (!element) {
      // What is new begins before the page that was loaded: show its end, the line is above.
      if (place === "new") this.#stick = true;
      return false;
    }
    if (place === "new") {
      const line = element.previousElementSibling?.dataset.key === "new" ? element.previousElementSibling : element;
      this.element.scrollTop += line.getBoundingClientRect().top - this.element.getBoundingClientRect().top - 24;
      this.#stick = this.atBottom;
    } else {
      element.scrollIntoView({ block: "center" });
      element.classList.add("flash");
      element.firstElementChild.focus({ preventScroll: true });
    }
    this.#look();
    return true;
  }

  #scrolled() {
    if (this.#closed) return;
    this.#stick = this.atBottom;
    this.#extend();
    this.#look();
  }

  /** Shows more where an end of the slice is near, and asks for more where it is the end of what is held. */
  #extend() {
    const timeline = this.#timeline;
    if (!timeline || timeline.rev === undefined || timeline.messages.length === 0) return;
    const { element } = this;
    const { messages } = timeline;
    const start = timeline.indexOf(this.#top ?? 0);
    const end = this.#bottom === undefined ? messages.length : timeline.indexOf(this.#bottom + 1);
    if (element.scrollTop < NEAR) {
      if (start > 0) {
        const from = Math.max(0, start - STEP);
        this.#top = messages[from].seq;
        if (end - from > SLICE) this.#bottom = messages[from + SLICE - 1].seq;
        this.render();
        return;
      }
      if (!timeline.atStart) this.#client.want(this.#id, "older");
    }
    if (element.scrollHeight - element.scrollTop - element.clientHeight < NEAR) {
      if (end < messages.length) {
        const to = Math.min(messages.length, end + STEP);
        this.#bottom = to === messages.length ? undefined : messages[to - 1].seq;
        if (to - start > SLICE) this.#top = messages[to - SLICE].seq;
        this.render();
      } else if (!timeline.atEnd) {
        this.#client.want(this.#id, "newer");
      }
    }
  }

  /** Tells which message is the last that is wholly on the screen. */
  #look() {
    this.told.bottom(this.atBottom);
    const edge = this.element.getBoundingClientRect().bottom + 24;
    for (let element = this.#content.lastElementChild; element; element = element.previousElementSibling) {
      if (element.dataset.seq !== undefined && element.getBoundingClientRect().bottom <= edge) {
        this.told.seen(Number(element.dataset.seq));
        return;
      }
    }
  }

  // ---- keys: rows are walked with the arrows ----

  #focusable() {
    return [...this.#content.querySelectorAll(".row > [tabindex]")];
  }

  #key(event) {
    const row = event.target.closest?.(".row > [tabindex]");
    const step = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    if (!row || !step) return;
    const rows = this.#focusable();
    const next = rows[rows.indexOf(row) + step];
    if (!next) return;
    event.preventDefault();
    next.focus({ preventScroll: true });
    next.scrollIntoView({ block: "nearest" });
  }
}

/** Pictures that follow one another are drawn as one row. */
function albums(lines, newFrom) {
  const rows = [];
  for (const line of lines) {
    const previous = rows.at(-1);
    if (!isTile(line)) rows.push(line);
    else if (previous?.tiles && previous.tiles.length < TILES && line.message.seq !== newFrom && together(previous, line) && dayOf(previous.time) === dayOf(line.time)) {
      rows[rows.length - 1] = { ...line, tiles: [...previous.tiles, line.message] };
    } else rows.push({ ...line, tiles: [line.message] });
  }
  return rows;
}

function isTile({ message }) {
  return message?.kind === "image" && message.body?.file && !message.body.text && !message.reply_to && !message.recalled && !message.reactions?.length;
}

/** Nothing is said to be on its way that a reload would still lose. */
function stateOf({ state, kept }) {
  return ["queued", "sending"].includes(state) && kept === undefined ? "keeping" : state;
}

function isPlain(said) {
  return said.kind !== "system" && !said.recalled;
}

function together(one, other) {
  return one.plain && other.plain && one.sender === other.sender && other.time - one.time < GROUP_SPAN;
}

/** Changes exactly when the row has to be drawn anew. */
function signature(client, { timeline }, { message, entry, first, last, state, tiles = [] }) {
  const said = message ?? entry;
  const quoted = said.reply_to && timeline?.get(said.reply_to.seq)?.rev;
  const people = [said.sender, said.reply_to?.sender, ...(said.mentions ?? [])];
  if (said.kind === "system") people.push(said.body?.actor, ...(said.body?.subjects ?? []));
  const names = people.map((id) => (id ? (client.user(id)?.name ?? "?") : ""));
  return [message?.rev ?? "", quoted ?? "", tiles.map(({ seq, rev }) => `${seq}.${rev}`).join(), state, first, last, entry?.error?.code ?? "", ...names].join("\u0000");
}
