/** One open conversation: its head, its messages, and where one writes. */
import { announce, fill, h, icon, iconButton, perFrame } from "./dom.js";
import { attach, showPicture } from "./attachments.js";
import { Composer } from "./composer.js";
import { confirmDialog, detailsDialog } from "./dialogs.js";
import { showMenu } from "./menu.js";
import { avatar, nameOf, summaryOf, titleOf } from "./people.js";
import { Scroller } from "./scroller.js";
import { t } from "./words.js";

export class Thread {
  #client;
  #id;
  #typing;
  #since = 0; // messages that came while one looked further up
  #watching = () => this.#seen(this.#lastSeen);
  #lastSeen = 0;
  #menuUpdate = () => {};
  #leave;
  #newest = 0;
  #viewer; // of a picture, while it is open

  /** @param acts `{back()}` */
  constructor(client, id, typing, acts) {
    this.#client = client;
    this.#id = id;
    this.#typing = typing;
    this.id = id;
    const { unread, head } = client.conversation(id);
    this.#newest = head.seq;
    client.open(id, unread > 40 ? 100 : 50);
    this.head = h("header.thread-head");
    this.scroller = new Scroller(
      client,
      id,
      {
        menu: (row) => this.#menu(row),
        quote: (seq) => this.scroller.toMessage(seq),
        view: (said) => this.#view(said),
        retry: (ref) => client.retry(ref),
        discard: (ref) => client.discard(ref),
      },
      { seen: (seq) => this.#seen(seq), bottom: (at) => this.#bottom(at) },
    );
    this.composer = new Composer(client, id, {
      sent: () => {
        this.scroller.clearNew();
        this.scroller.toNewest();
      },
      editLast: () => this.#editLast(),
    });
    this.jumpCount = h("span.jump-count");
    this.jump = h(
      "button.jump",
      { type: "button", hidden: true, "aria-label": t("jump.new"), title: t("jump.new"), onclick: () => this.scroller.toNewest() },
      icon("down"),
      this.jumpCount,
    );
    this.gone = h("p.composer-gone", { hidden: true }, t("group.left"));
    this.#leave = acts.back;
    this.back = iconButton("back", t("back"), acts.back);
    this.back.classList.add("back");
    this.element = h(
      "section.thread",
      { "aria-label": titleOf(client, client.conversation(id)) },
      this.head,
      h("div.thread-body", this.scroller.element, this.jump),
      this.gone,
      this.composer.element,
    );
    this.element.addEventListener("keydown", (event) => this.#key(event));
    this.#acceptDrops();
    this.scroller.element.addEventListener("contextmenu", (event) => this.#contextMenu(event));
    document.addEventListener("visibilitychange", this.#watching);
    addEventListener("focus", this.#watching);
    this.update = perFrame(() => this.render());
    this.render();
  }

  close() {
    this.scroller.close();
    document.removeEventListener("visibilitychange", this.#watching);
    removeEventListener("focus", this.#watching);
  }

  focus() {
    if (matchMedia("(pointer: coarse)").matches) return; // a keyboard that slides up is not asked for
    this.composer.focus();
  }

  render() {
    const conversation = this.#client.conversation(this.#id);
    if (!conversation) return;
    const title = titleOf(this.#client, conversation);
    this.element.setAttribute("aria-label", title);
    const online = conversation.kind === "direct" && this.#client.online.has(conversation.peer?.user);
    const key = [title, online, this.#subtitle(conversation, online), conversation.left].join("\u0000");
    if (key !== this.shown) {
      this.shown = key;
      const id = conversation.kind === "direct" ? (conversation.peer?.user ?? this.#id) : this.#id;
      fill(
        this.head,
        this.back,
        avatar(id, title, { online, group: conversation.kind === "group" }),
        h("div.thread-title", h("h1", title), h("p.thread-subtitle", { "aria-live": "polite" }, this.#subtitle(conversation, online))),
        iconButton("info", t("info"), () => this.#details(), { "aria-haspopup": "dialog" }),
      );
    }
    this.gone.hidden = !conversation.left;
    this.composer.element.hidden = Boolean(conversation.left);
    this.composer.refresh();
    this.scroller.update();
    this.#menuUpdate();
    if (this.#viewer?.open) {
      const { messages } = this.#client.messages(this.#id);
      this.#viewer.only(picturesOf(messages), messages[0]?.seq ?? 0);
    }
  }

  /** A message has come to this conversation. */
  came(message) {
    if (message.seq <= this.#newest) return; // a new state of an old message
    this.#newest = message.seq;
    if (message.sender === this.#client.me.user) return;
    announce(`${nameOf(this.#client, message.sender)}: ${summaryOf(this.#client, message)}`);
    if (this.scroller.atBottom && this.#looking()) return;
    this.scroller.markNew(message.seq);
    this.#since += 1;
  }

  #subtitle(conversation, online) {
    const typing = this.#typing(this.#id);
    if (typing) return typing;
    if (conversation.kind === "direct") return online ? t("online") : t("offline");
    if (conversation.left) return "";
    const listed = conversation.membersLoaded && [...conversation.members.values()].filter(({ spans }) => spans.at(-1).length === 1).length;
    const count = conversation.count ?? listed;
    return count ? t("members", count) : "";
  }

  #looking() {
    return document.visibilityState === "visible" && document.hasFocus();
  }

  #seen(seq) {
    this.#lastSeen = Math.max(this.#lastSeen, seq);
    const conversation = this.#client.conversation(this.#id);
    if (!this.#looking() || !conversation || this.#lastSeen <= conversation.floor) return;
    this.#client.read(this.#id, this.#lastSeen);
  }

  #bottom(at) {
    this.jump.hidden = at;
    if (at) this.#since = 0;
    this.jumpCount.textContent = this.#since > 0 ? String(this.#since) : "";
  }

  // ---- what can be done with a message ----

  /** What can be done follows the message while the menu is open: it is acknowledged, edited, recalled. */
  #menu(row, point) {
    const items = () => {
      const { message, entry, mine } = this.#current(row);
      const said = message ?? entry;
      if (!said || said.blob || said.recalled || said.kind === "system") return [];
      const here = !this.#client.conversation(this.#id)?.left && entry?.state !== "failed";
      const text = said.body?.text;
      const disabled = !message; // until the server has it
      return [
        here && { label: t("reply"), symbol: "reply", disabled, act: () => this.#with(row, (one) => this.composer.reply(one)) },
        text !== undefined && { label: t("copy"), symbol: "copy", act: () => this.#copy(text) },
        here && mine && said.kind === "text" && { label: t("edit"), symbol: "edit", disabled, act: () => this.#with(row, (one) => this.composer.edit(one)) },
        here && mine && { label: t("recall"), symbol: "recall", danger: true, disabled, act: () => this.#with(row, (one) => this.#recall(one)) },
      ].filter(Boolean);
    };
    if (items().length > 0) this.#menuUpdate = showMenu(() => this.scroller.elementOf(this.#current(row)), items, point);
  }

  /** A row as it is now: what was on its way has perhaps arrived. */
  #current({ message, entry, mine }) {
    const { messages, pending } = this.#client.messages(this.#id);
    if (message) return { message: this.#client.conversation(this.#id)?.timeline?.get(message.seq) ?? message, mine };
    const arrived = messages.findLast(({ ref, sender }) => ref === entry.ref && sender === this.#client.me.user);
    return { message: arrived, entry: pending.find(({ ref }) => ref === entry.ref), mine };
  }

  #with(row, act) {
    const { message } = this.#current(row);
    if (message && !message.recalled) act(message);
  }

  #rowOf(element) {
    const holder = element.closest?.(".row [data-seq], .row"); // a picture among others, or the whole row
    if (!holder) return undefined;
    const message = this.#client.conversation(this.#id)?.timeline?.get(Number(holder.dataset.seq));
    if (message) return { message, mine: message.sender === this.#client.me.user };
    const entry = this.#client.messages(this.#id).pending.find(({ ref }) => holder.dataset.key === `ref:${ref}`);
    return entry && { entry, mine: true };
  }

  #contextMenu(event) {
    const row = this.#rowOf(event.target);
    if (!row || event.target.closest("a") || !getSelection().isCollapsed) return;
    event.preventDefault();
    this.#menu(row, { x: event.clientX, y: event.clientY });
  }

  #key(event) {
    if (event.target.matches?.(".row > [tabindex]")) {
      const row = this.#rowOf(event.target);
      if (event.key === "Escape") {
        this.composer.focus();
        event.stopPropagation();
      } else if (!row) return;
      else if (event.key === "Enter" || event.key === " ") {
        event.preventDefault();
        this.#menu(row);
      } else if (event.key === "Delete" && row.mine) this.#with(row, (message) => this.#recall(message));
      else if (event.key.toLowerCase() === "r" && !event.ctrlKey && !event.metaKey && row.message && !row.message.recalled) {
        event.preventDefault();
        this.composer.reply(row.message);
      }
    } else if (event.key === "ArrowUp" && event.altKey) {
      event.preventDefault();
      this.scroller.focusLast();
    } else if (event.key === "Tab" && event.shiftKey && event.target === this.composer.input) {
      // Backwards out of the text lies the conversation, its newest message first.
      event.preventDefault();
      this.scroller.focusLast();
    }
  }

  #view(said) {
    const pictures = said.blob ? [said] : picturesOf(this.#client.messages(this.#id).messages);
    const viewer = showPicture(this.#client, pictures, said);
    if (!said.blob) this.#viewer = viewer;
  }

  /** Files may be dropped anywhere on the conversation. */
  #acceptDrops() {
    const { element } = this;
    let inside = 0;
    const hint = h("div.drop-hint", { hidden: true }, icon("clip"), t("drop"));
    element.append(hint);
    const show = (by) => {
      inside = Math.max(0, inside + by);
      hint.hidden = inside === 0;
    };
    const files = (event) => event.dataTransfer?.types.includes("Files") && !this.#client.conversation(this.#id)?.left;
    element.addEventListener("dragenter", (event) => files(event) && show(1));
    element.addEventListener("dragleave", (event) => files(event) && show(-1));
    element.addEventListener("dragover", (event) => files(event) && event.preventDefault());
    element.addEventListener("drop", (event) => {
      if (!files(event)) return;
      event.preventDefault();
      inside = 0;
      hint.hidden = true;
      attach(this.#client, this.#id, event.dataTransfer.files);
      this.scroller.toNewest();
    });
  }

  /** Not an older one while the last is still on its way. */
  #editLast() {
    if (this.#client.messages(this.#id).pending.length > 0) return;
    const { messages = [] } = this.#client.conversation(this.#id)?.timeline ?? {};
    const last = messages.findLast((one) => one.sender === this.#client.me.user && one.kind === "text" && !one.recalled);
    if (last) this.composer.edit(last);
  }

  async #copy(text) {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      const area = h("textarea", { value: text }); // plain http has no clipboard of its own
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
    announce(t("copied"));
    this.composer.focus();
  }

  async #recall(message) {
    if (!(await confirmDialog(t("recall.ask"), t("recall"), summaryOf(this.#client, message)))) return;
    try {
      await this.#client.recall(this.#id, message.seq);
    } catch (error) {
      await confirmDialog(error.message, t("ok"));
    }
    this.composer.focus();
  }

  #details() {
    this.#client.loadMembers(this.#id);
    detailsDialog(this.#client, this.#id, this.#leave);
  }
}

const picturesOf = (messages) => messages.filter((one) => one.kind === "image" && one.body?.file);
