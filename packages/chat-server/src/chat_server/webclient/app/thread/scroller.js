/**
 * The scrolling part of a conversation: a bounded slice of its messages as elements, whatever its length.
 *
 * Elements come and go at both ends while what the person looks at keeps its place on the screen: before every change
 * one visible row is remembered, afterwards the scroll position is corrected by how far that row has moved. The same is
 * done when a row grows by itself. What is shown and loaded follows from where one looks, after every drawing and
 * scrolling; there is no event that could be missed.
 */
import { Component } from "../../vendor/preact.js";
import { h, perFrame } from "../views/h.js";
import { dayName, t } from "../words.js";
import { linesOf } from "./lines.js";
import { Row, signature } from "./row.js";

/** At most so many messages are elements at a time, and so many are added at once. */
const SLICE = 120;
const STEP = 40;
/** How near an end must be, in pixels, before more is shown or loaded. */
const NEAR = 800;
/** How far below the upper edge the first new message is placed. */
const NEWS_BELOW = 24;

export class Scroller extends Component {
  top; // seq of the first message shown; undefined: as far back as the slice reaches
  bottom; // seq of the last one; undefined: up to the newest
  stick = true; // the end is followed; asked by #follows, since nobody tells at once of a scroll
  newFrom;
  target; // {seq, place: "new" | "flash"}: scroll there once it is loaded
  anchors = [];
  at; // the scroll position when they were remembered: where we put it, or last saw it

  constructor(props) {
    super(props);
    props.handle.current = this;
    const { first } = props;
    if (first !== undefined) {
      this.newFrom = first;
      this.target = { seq: first, place: "new" };
      this.stick = false;
    }
    if (props.seq !== undefined) {
      this.target = { seq: props.seq, place: "flash" };
      this.stick = false;
    }
    this.state = { hot: undefined };
    this.scrolled = perFrame(() => this.#scrolled());
  }

  // ---- asked from outside ----

  get atBottom() {
    const { box } = this;
    return Boolean(box) && this.bottom === undefined && box.scrollHeight - box.scrollTop - box.clientHeight < 40;
  }

  /** Where the first new message lies: "above", "shown", "below" or undefined. */
  get newsAt() {
    if (this.newFrom === undefined) return undefined;
    const line = this.content?.querySelector('[data-key="new"]');
    if (line) return line.getBoundingClientRect().bottom < this.box.getBoundingClientRect().top ? "above" : "shown";
    return this.top !== undefined && this.newFrom < this.top ? "above" : undefined;
  }

  /** To the newest message, wherever one is. */
  toNewest() {
    this.top = this.bottom = this.target = undefined;
    this.stick = true;
    this.at = this.box?.scrollTop;
    if (this.#timeline && !this.#timeline.atEnd) this.props.desk.client.want(this.props.id, "newest");
    this.forceUpdate();
  }

  /** To one message; loads around it where it is not at hand. */
  toMessage(seq, place = "flash") {
    this.target = { seq, place };
    this.stick = false;
    if (this.#timeline?.get(seq)) this.#aim(seq);
    else this.props.desk.client.want(this.props.id, "around", seq);
    this.forceUpdate();
  }

  /** Draws the line above this message, unless what is below an earlier one is still unread. */
  markNew(seq, read) {
    if (this.newFrom === undefined || this.newFrom <= read) this.newFrom = seq;
  }

  clearNew() {
    this.newFrom = undefined;
  }

  /** The focusable part of a row `{message?, entry?}`, where it is on the page. */
  elementOf({ message, entry }) {
    const said = message && this.content.querySelector(`[data-seq="${Number(message.seq)}"]`)?.closest(".row");
    return (said ?? this.content.querySelector(`[data-key="${CSS.escape(`ref:${entry?.ref}`)}"]`))?.firstElementChild;
  }

  focusLast() {
    this.#focusable().at(-1)?.focus();
  }

  // ---- drawing ----

  componentDidMount() {
    const { client } = this.props.desk;
    // Rows that grow by themselves: a late picture, a font, a text that was unfolded.
    // Somebody may have scrolled since the places were remembered: that much they have moved by right.
    this.observer = new ResizeObserver(() => (this.#follows() ? this.#toBottom() : this.#restore(this.box.scrollTop - this.at)));
    this.observer.observe(this.box);
    this.observer.observe(this.content);
    const mine = (id) => id === this.props.id && this.setState({});
    this.stops = [client.on("messages", mine), this.props.desk.reactions.changed.subscribe(() => this.setState({}))];
    this.#settle();
  }

  componentWillUnmount() {
    this.observer.disconnect();
    for (const stop of this.stops) stop();
    this.gone = true; // a frame may still be owed, in a hidden tab for long
  }

  getSnapshotBeforeUpdate() {
    // What grew since the last look is corrected by the place that was remembered then; what was scrolled since is not.
    if (this.box && this.box.scrollTop !== this.at && !this.#follows()) this.#remember();
    return null;
  }

  componentDidUpdate() {
    this.#settle();
  }

  render({ desk, id, acts, page }, { hot }) {
    const conversation = desk.client.conversation(id);
    const rows = this.#plan(conversation);
    return h(
      "div.timeline",
      {
        ref: (box) => (this.box = box ?? this.box),
        tabindex: 0, // who has no mouse scrolls it with the arrows
        onscroll: this.scrolled,
        onkeydown: (event) => this.#key(event),
        onpointerover: (event) => event.pointerType === "mouse" && this.#hover(event.target),
        onpointerleave: () => this.#hover(undefined),
      },
      h(
        "div.timeline-content",
        { ref: (content) => (this.content = content ?? this.content), role: "list" },
        rows.map((row) => this.#row(row, desk, conversation, acts, page, hot)),
      ),
    );
  }

  #row({ key, seq, day, news, notice, line }, desk, conversation, acts, page, hot) {
    const props = { key, role: "listitem", "data-key": key, "data-seq": seq };
    if (notice) return h("div.row", props, h("div.notice", notice));
    if (day) return h("div.row", props, h("div.day", h("span", dayName(day))));
    if (news) return h("div.row", props, h("div.new-line", h("span", t("new"))));
    return h("div.row", props, h(Row, { desk, id: conversation.id, line, acts, hot: hot === key, signature: signature(desk, conversation, line, page) }));
  }

  get #timeline() {
    return this.props.desk.client.conversation(this.props.id)?.timeline;
  }

  #plan(conversation) {
    const timeline = conversation?.timeline;
    if (!timeline || timeline.rev === undefined) return [{ key: "loading", notice: t("loading") }];
    const { client } = this.props.desk;
    const { messages, pending } = client.messages(conversation.id);
    if (this.target && timeline.get(this.target.seq)) this.#aim(this.target.seq);
    let end = this.bottom === undefined ? messages.length : timeline.indexOf(this.bottom + 1);
    let start = this.top === undefined ? Math.max(0, end - STEP * 2) : timeline.indexOf(this.top);
    if (end - start > SLICE) {
      if (this.stick || this.bottom !== undefined) start = end - SLICE;
      else end = start + SLICE;
    }
    if (start >= end) end = Math.min(messages.length, start + SLICE); // the window was replaced meanwhile
    if (start >= end) start = Math.max(0, end - SLICE);
    this.top = messages[start]?.seq;
    this.bottom = end === messages.length ? undefined : messages[end - 1]?.seq;
    const rows = [];
    if (start === 0) rows.push(timeline.atStart ? { key: "start", notice: t("start.of") } : { key: "older", notice: t("loading") });
    const said = messages.slice(start, end).map((message) => ({ message }));
    if (this.bottom === undefined) said.push(...pending.map((entry) => ({ entry })));
    rows.push(...linesOf(said, messages[start - 1], conversation, client.me.user, this.newFrom));
    if (!timeline.atEnd && end === messages.length) rows.push({ key: "newer", notice: t("loading") });
    return rows;
  }

  // ---- where one looks ----

  #settle() {
    if (this.gone || !this.box) return;
    if (!(this.target && this.#reach())) {
      if (this.stick) this.#toBottom();
      else {
        this.#restore();
        this.#remember();
      }
    }
    this.#look();
  }

  #toBottom() {
    this.box.scrollTop = this.box.scrollHeight;
    this.#remember();
  }

  /**
   * Whether the end is still followed. A scroll is told of a frame later than it happens, and what is drawn meanwhile must
   * not pull back whoever has scrolled away: the position itself says it.
   */
  #follows() {
    if (this.stick && this.at !== undefined && this.box.scrollTop !== this.at) this.stick = this.atBottom;
    return this.stick;
  }

  /** The first visible rows, and how far below the upper edge each begins. One of them will still be there. */
  #remember() {
    this.at = this.box.scrollTop;
    const edge = this.box.getBoundingClientRect().top;
    this.anchors = [];
    for (const element of this.content.children) {
      const box = element.getBoundingClientRect();
      if (box.bottom <= edge + 1 || element.dataset.seq === undefined) continue;
      this.anchors.push({ element, key: element.dataset.key, below: box.top - edge });
      if (this.anchors.length === 5) break;
    }
  }

  /** Puts the first of the remembered rows back in its place. `scrolled`: by how much one has scrolled meanwhile. */
  #restore(scrolled = 0) {
    const anchor = this.anchors.find(({ element }) => element.isConnected);
    if (!anchor) return;
    const below = anchor.element.getBoundingClientRect().top - this.box.getBoundingClientRect().top;
    const moved = below - (anchor.below - scrolled);
    if (Math.abs(moved) >= 1) this.box.scrollTop += moved;
    if (scrolled !== 0 || Math.abs(moved) >= 1) this.#remember();
  }

  /** Makes the slice hold this message. */
  #aim(seq) {
    const { messages } = this.#timeline;
    const index = this.#timeline.indexOf(seq);
    this.top = messages[Math.max(0, index - STEP)].seq;
    const end = Math.min(messages.length, index + STEP);
    this.bottom = end === messages.length ? undefined : messages[end - 1].seq;
  }

  #reach() {
    const { seq, place } = this.target;
    const timeline = this.#timeline;
    if (!timeline || timeline.rev === undefined || timeline.loading || timeline.want) return false;
    const line = place === "new" && this.content.querySelector('[data-key="new"]');
    const element = line || this.content.querySelector(`[data-seq="${Number(seq)}"]`);
    this.target = undefined;
    if (!element) {
      // It is not there (any more): the nearest place is the end of what was loaded.
      if (place === "new") this.stick = true;
      return false;
    }
    if (place === "new") {
      this.box.scrollTop += element.getBoundingClientRect().top - this.box.getBoundingClientRect().top - NEWS_BELOW;
    } else {
      element.scrollIntoView({ block: "center" });
      element.classList.add("flash");
      setTimeout(() => element.classList.remove("flash"), 1700);
      element.closest(".row").firstElementChild?.focus({ preventScroll: true });
    }
    this.stick = this.atBottom;
    this.#remember();
    return true;
  }

  #scrolled() {
    if (this.gone) return;
    // The end of what is loaded is not the end: whoever comes to it by scrolling stays there when more is loaded.
    this.stick = this.atBottom && (this.stick || Boolean(this.#timeline?.atEnd));
    this.#remember();
    this.#look();
  }

  /** Tells where one is, and shows or asks for more where an end is near. */
  #look() {
    const { told } = this.props;
    told.bottom(this.atBottom, this.newsAt);
    const edge = this.box.getBoundingClientRect().bottom + 24;
    for (let element = this.content.lastElementChild; element; element = element.previousElementSibling) {
      if (element.dataset.seq !== undefined && element.getBoundingClientRect().bottom <= edge) {
        told.seen(Number(element.dataset.seq));
        break;
      }
    }
    this.#extend();
  }

  #extend() {
    const timeline = this.#timeline;
    if (!timeline || timeline.rev === undefined || timeline.messages.length === 0 || this.target) return;
    const { client } = this.props.desk;
    const { messages } = timeline;
    const start = timeline.indexOf(this.top ?? 0);
    const end = this.bottom === undefined ? messages.length : timeline.indexOf(this.bottom + 1);
    if (this.box.scrollTop < NEAR) {
      if (start > 0) {
        const from = Math.max(0, start - STEP);
        this.top = messages[from].seq;
        if (end - from > SLICE) this.bottom = messages[from + SLICE - 1].seq;
        this.forceUpdate();
        return;
      }
      if (!timeline.atStart) client.want(this.props.id, "older");
    }
    if (this.box.scrollHeight - this.box.scrollTop - this.box.clientHeight < NEAR) {
      if (end < messages.length) {
        const to = Math.min(messages.length, end + STEP);
        this.bottom = to === messages.length ? undefined : messages[to - 1].seq;
        if (to - start > SLICE) this.top = messages[to - SLICE].seq;
        this.forceUpdate();
      } else if (!timeline.atEnd) {
        client.want(this.props.id, "newer");
      }
    }
  }

  #hover(target) {
    const key = target?.closest?.(".row")?.dataset.key;
    if (key !== this.state.hot) this.setState({ hot: key });
  }

  // ---- keys: rows are walked with the arrows ----

  #focusable() {
    return [...this.content.querySelectorAll(".row > [tabindex]")];
  }

  #key(event) {
    const row = event.target.closest?.(".row > [tabindex]");
    if (!row || row !== event.target || event.altKey || event.ctrlKey || event.metaKey) return;
    const rows = this.#focusable();
    const at = rows.indexOf(row);
    const next = rows[{ ArrowUp: at - 1, ArrowDown: at + 1, Home: 0, End: rows.length - 1 }[event.key] ?? -1];
    if (!next) return;
    event.preventDefault();
    next.focus({ preventScroll: true });
    next.scrollIntoView({ block: "nearest" });
  }
}
