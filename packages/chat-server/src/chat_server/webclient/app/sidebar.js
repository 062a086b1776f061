/** The list of conversations, however many: only the rows on the screen are elements. And the search above it. */
import { fill, h, icon, iconButton, perFrame } from "./dom.js";
import { avatar, summaryOf, titleOf, nameOf } from "./people.js";
import { shortTime, t } from "./words.js";

const ROW = 72; // pixels; style.css says the same
const OVERSCAN = 6;

export class Sidebar {
  #client;
  #acts;
  #open;
  #items = [];
  #rows = new Map(); // id → {element, signature}
  #people = [];
  #typing;
  #searching;
  #focusId;

  /** @param acts `{open(id), openUser(user), menu(event), create(event)}` */
  constructor(client, typing, acts) {
    this.#client = client;
    this.#typing = typing;
    this.#acts = acts;
    this.input = h("input.search-input", {
      type: "search",
      placeholder: t("search"),
      "aria-label": t("search"),
      autocomplete: "off",
      oninput: () => this.#search(),
      onkeydown: (event) => this.#searchKey(event),
    });
    this.spacer = h("ul.list-rows", { "aria-label": t("chats") });
    this.people = h("div.people");
    this.empty = h("div.list-empty", { hidden: true });
    this.scroll = h("div.list-scroll", this.spacer, this.people, this.empty);
    this.scroll.addEventListener("scroll", perFrame(() => this.#draw()), { passive: true });
    this.scroll.addEventListener("keydown", (event) => this.#key(event));
    this.me = h("div.me");
    this.element = h(
      "nav.sidebar",
      { "aria-label": t("chats") },
      h(
        "header.sidebar-head",
        this.me,
        iconButton("plus", t("menu.new"), acts.create, { "aria-haspopup": "menu" }),
        iconButton("menu", t("menu"), acts.menu, { "aria-haspopup": "menu" }),
      ),
      h("div.search", icon("search"), this.input),
      this.scroll,
    );
    this.update = perFrame(() => this.render());
    new ResizeObserver(() => this.#draw()).observe(this.scroll);
  }

  set open(id) {
    this.#open = id;
    this.#focusId = id ?? this.#focusId;
    this.render();
  }

  focusSearch() {
    this.input.focus();
    this.input.select();
  }

  render() {
    const { me } = this.#client;
    if (this.me.dataset.name !== me.name) {
      this.me.dataset.name = me.name;
      fill(this.me, avatar(me.user, me.name), h("span.me-name", me.name));
    }
    const query = this.input.value.trim().toLowerCase();
    const all = this.#client.list();
    const open = this.#open && this.#client.conversation(this.#open);
    if (open && !open.hidden && !all.includes(open)) all.unshift(open); // a direct chat without a word yet
    // What is hidden is found all the same.
    const found = query ? [...all, ...[...this.#client.replica.conversations.values()].filter(({ hidden }) => hidden)] : all;
    this.#items = query ? found.filter((one) => titleOf(this.#client, one).toLowerCase().includes(query)) : all;
    this.spacer.style.height = `${this.#items.length * ROW}px`;
    this.#draw();
    this.#drawPeople(query);
    this.#watch();
  }

  // ---- rows ----

  #draw() {
    const { scrollTop, clientHeight } = this.scroll;
    const from = Math.max(0, Math.floor(scrollTop / ROW) - OVERSCAN);
    const to = Math.min(this.#items.length, Math.ceil((scrollTop + clientHeight) / ROW) + OVERSCAN);
    const kept = new Map();
    const focused = document.activeElement?.closest?.(".list-row")?.dataset.id;
    const roving = this.#items.some(({ id }) => id === this.#focusId) ? this.#focusId : this.#items[0]?.id;
    for (let index = from; index < to; index += 1) {
      const one = this.#items[index];
      let row = this.#rows.get(one.id);
      const signature = this.#signature(one, index, roving);
      if (row?.signature !== signature) {
        const element = this.#row(one, index, roving);
        if (row) row.element.replaceWith(element);
        else this.spacer.append(element);
        row = { element, signature };
        if (focused === one.id) element.firstElementChild.focus({ preventScroll: true });
      }
      kept.set(one.id, row);
    }
    for (const [id, { element }] of this.#rows) if (!kept.has(id)) element.remove();
    this.#rows = kept;
  }

  #online(one) {
    return one.kind === "direct" && this.#client.online.has(one.peer?.user);
  }

  #preview(one) {
    const typing = this.#typing(one.id);
    if (typing) return h("span.typing", typing);
    const { preview } = one.head;
    if (!preview) return "";
    const text = summaryOf(this.#client, preview);
    const said = preview.kind !== "system" && !preview.recalled && one.kind === "group";
    const mine = preview.sender === this.#client.me.user;
    return said ? `${mine ? t("you") : nameOf(this.#client, preview.sender)}: ${text}` : text;
  }

  #signature(one, index, roving) {
    const preview = this.#preview(one);
    const shown = preview instanceof Node ? preview.textContent : preview;
    const time = one.head.seq ? shortTime(one.head.time) : "";
    const marks = [one.unread, one.mentioned, one.muted, one.pinned, one.left, this.#online(one)];
    return [index, this.#items.length, titleOf(this.#client, one), shown, time, ...marks, one.id === this.#open, one.id === roving].join("\u0000");
  }

  #row(one, index, roving) {
    const title = titleOf(this.#client, one);
    const online = this.#online(one);
    const marks = h("span.marks");
    if (one.mentioned) marks.append(h("span.at", { role: "img", "aria-label": t("mentioned") }, "@"));
    if (one.unread > 0) {
      const count = h("span.unread", { "aria-label": t("unread", one.unread) }, one.unread > 999 ? "999+" : String(one.unread));
      count.setAttribute("role", "img");
      count.classList.toggle("quiet", Boolean(one.muted));
      marks.append(count);
    } else if (one.pinned) marks.append(icon("pin"));
    if (one.muted) marks.prepend(icon("muted"));
    const button = h(
      "button.list-button",
      {
        type: "button",
        tabindex: one.id === roving ? "0" : "-1",
        "aria-current": one.id === this.#open ? "true" : undefined,
        onclick: () => this.#acts.open(one.id),
      },
      avatar(one.kind === "direct" ? (one.peer?.user ?? one.id) : one.id, title, { online, group: one.kind === "group" }),
      h(
        "span.list-text",
        h("span.list-top", h("span.list-title", title), online ? h("span.hidden-visually", t("online")) : null, h("time.list-time", one.head.seq ? shortTime(one.head.time) : "")),
        h("span.list-bottom", h("span.list-preview", this.#preview(one)), marks),
      ),
    );
    const element = h("li.list-row", { "aria-setsize": this.#items.length, "aria-posinset": index + 1 }, button);
    element.dataset.id = one.id;
    element.style.transform = `translateY(${index * ROW}px)`;
    return element;
  }

  /** Focus walks over all rows, though few are elements at a time. */
  #focus(index) {
    const one = this.#items[index];
    if (!one) return;
    this.#focusId = one.id;
    const top = index * ROW;
    if (top < this.scroll.scrollTop) this.scroll.scrollTop = top;
    else if (top + ROW > this.scroll.scrollTop + this.scroll.clientHeight) this.scroll.scrollTop = top + ROW - this.scroll.clientHeight;
    this.#draw();
    this.#rows.get(one.id)?.element.firstElementChild.focus({ preventScroll: true });
  }

  #key(event) {
    const buttons = [...this.people.querySelectorAll("button")];
    const inPeople = buttons.indexOf(document.activeElement);
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (inPeople >= 0) {
      if (!step) return;
      const next = buttons[inPeople + step];
      if (next) next.focus();
      else if (step < 0) this.#items.length ? this.#focus(this.#items.length - 1) : this.focusSearch();
      event.preventDefault();
      return;
    }
    const id = event.target.closest(".list-row")?.dataset.id;
    const index = this.#items.findIndex((one) => one.id === id);
    const page = Math.floor(this.scroll.clientHeight / ROW);
    const moves = { ArrowDown: index + 1, ArrowUp: index - 1, PageDown: index + page, PageUp: index - page, Home: 0, End: Infinity };
    if (index < 0 || !(event.key in moves)) return;
    event.preventDefault();
    const to = moves[event.key];
    if (to < 0) this.focusSearch();
    else if (event.key === "ArrowDown" && to >= this.#items.length && buttons.length) buttons[0].focus();
    else this.#focus(Math.min(to, this.#items.length - 1));
  }

  // ---- search ----

  #searchKey(event) {
    if (event.key === "ArrowDown") {
      event.preventDefault();
      if (this.#items.length) this.#focus(0);
      else this.people.querySelector("button")?.focus();
    } else if (event.key === "Enter") {
      if (this.#items.length) this.#choose(() => this.#acts.open(this.#items[0].id));
      else if (this.#people.length) this.#choose(() => this.#acts.openUser(this.#people[0]));
    } else if (event.key === "Escape" && this.input.value) {
      event.stopPropagation();
      this.input.value = "";
      this.#search();
    }
  }

  #choose(act) {
    this.input.value = "";
    this.#search();
    act();
  }

  #search() {
    this.scroll.scrollTop = 0;
    this.#people = [];
    this.render();
    clearTimeout(this.#searching);
    const query = this.input.value.trim();
    if (!query) return;
    this.#searching = setTimeout(async () => {
      try {
        const { users } = await this.#client.call("user.search", { query });
        if (this.input.value.trim() !== query) return;
        this.#people = users.filter(({ user }) => user !== this.#client.me.user);
        this.searched = query;
      } catch {
        this.searched = query;
      }
      this.render();
    }, 200);
  }

  #drawPeople(query) {
    if (query) {
      const none = this.searched?.toLowerCase() === query && this.#people.length === 0;
      fill(
        this.people,
        h("h2.list-heading", t("search.people")),
        none ? h("p.list-hint", t("search.none")) : null,
        this.#people.map((user) =>
          h(
            "button.list-button.person",
            { type: "button", onclick: () => this.#choose(() => this.#acts.openUser(user)) },
            avatar(user.user, user.name, { online: this.#client.online.has(user.user) }),
            h("span.list-text", h("span.list-title", user.name)),
          ),
        ),
      );
    } else fill(this.people);
    const empty = !query && this.#client.replica.listed && this.#items.length === 0;
    this.empty.hidden = !empty;
    if (empty) fill(this.empty, icon("chat"), h("p", t("chats.none")), h("p.list-hint", t("chats.none.hint")));
  }

  /** Presence of the people one sees first. */
  #watch() {
    const peers = this.#items.slice(0, 150).map(({ peer }) => peer?.user);
    this.#client.watch([...peers, ...(this.#acts.present?.() ?? [])].filter(Boolean));
  }
}
