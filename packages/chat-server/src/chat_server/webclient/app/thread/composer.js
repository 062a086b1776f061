/** Where one writes: text with mentions and marks, a reply, an edit, emoji, files, voice. */
import { Component } from "../../vendor/preact.js";
import { mixedUp } from "../alike.js";
import { findMembers, isLarger } from "../members.js";
import { nameOf, nameOrYou, presentMembers, summaryOf } from "../people.js";
import { preview } from "../../chat-client.js";
import { settings } from "../settings.js";
import { isMarked } from "../../client/markup.js";
import { asked, fromWire, guessed, matches, moved, toWire, trimmed, typedByHand } from "../text/mentions.js";
import { confirmDialog } from "../views/dialog.js";
import { Avatar } from "../views/avatar.js";
import { h, icon, iconButton } from "../views/h.js";
import { named } from "../views/named.js";
import { errorText, inEveryLanguage, moment, t } from "../words.js";
import { EmojiPanel } from "./emoji-panel.js";
import { pastedFiles, sendFiles } from "./outgoing.js";
import { canRecord, RecordingLine } from "./recording.js";

const SUGGESTED = 8;
/** From so many people on, everybody is mentioned only after a question. */
const MANY = 20;
/** From so many characters before the limit on, what is left is told. */
const NEAR_LIMIT = 200;
const MARKS = { b: "**", i: "*", e: "`" };

const coarse = () => matchMedia("(pointer: coarse)").matches;

export class Composer extends Component {
  // What is written lies here and not in a state, which is a frame late: keys may come quicker than that.
  text = "";
  mentions = []; // ranges of the text
  editing; // {seq, body}
  replying; // {seq, sender, kind, text}
  people = []; // who is suggested
  at = 0;
  asked;
  error;

  constructor(props) {
    super(props);
    props.handle.current = this;
    const { desk, id } = props;
    const edit = desk.edits.get(id);
    const begun = edit ?? desk.drafts.get(id);
    if (edit) this.editing = { seq: edit.seq, body: edit.body };
    else this.replying = begun?.reply;
    this.text = begun?.text ?? "";
    this.mentions = begun?.mentions ?? [];
    this.state = {};
  }

  // ---- asked from outside ----

  focus() {
    this.input?.focus({ preventScroll: true });
  }

  reply(message) {
    if (this.editing) this.#endEdit();
    this.replying = { ...preview(message), seq: message.seq };
    this.#keep();
    this.#draw();
    this.focus();
  }

  edit(message) {
    const { desk } = this.props;
    const { text, entities } = message.body;
    let mentions = fromWire(text, entities);
    if (mentions.length === 0 && message.mentions?.length) {
      const names = (user) => (user === "@all" ? inEveryLanguage("everyone") : [nameOf(desk.client, user)]);
      mentions = guessed(text, message.mentions.map((user) => ({ user, names: names(user) })));
    }
    this.editing = { seq: message.seq, body: message.body };
    this.replying = undefined;
    this.#put(text, mentions, text.length);
    this.focus();
  }

  /** Files that were dropped somewhere on the conversation. */
  async files(list) {
    const { desk, id, sent } = this.props;
    if (list.length === 0) return;
    if (await sendFiles(desk.client, id, list, this.editing ? "" : this.text)) {
      if (!this.editing) this.#put("", [], 0);
      sent();
    }
    this.focus();
  }

  // ---- the life of the field ----

  componentDidMount() {
    const { desk, id } = this.props;
    const other = (told) => told?.id === id && !this.editing && document.activeElement !== this.input && this.#take(desk.drafts.get(id));
    this.stops = [
      desk.client.on("conversation", (changed) => changed === id && this.#suggestFor()), // the members may have come since "@"
      desk.drafts.elsewhere.subscribe(other),
    ];
    this.#grow();
  }

  componentWillUnmount() {
    for (const stop of this.stops) stop();
  }

  componentDidUpdate() {
    this.#grow();
  }

  #draw() {
    this.setState({});
  }

  #take(draft) {
    this.text = draft?.text ?? "";
    this.mentions = draft?.mentions ?? [];
    this.replying = draft?.reply;
    this.#draw();
  }

  /** What stands in the field is the draft, or the edit; never the one for the other. */
  #keep() {
    const { desk, id } = this.props;
    const { text, mentions } = this;
    if (this.editing) desk.edits.set(id, { ...this.editing, text, mentions });
    else desk.drafts.set(id, { text, mentions, reply: this.replying });
  }

  #put(text, mentions, caret) {
    this.text = text;
    this.mentions = mentions;
    this.error = undefined;
    if (this.input) {
      this.input.value = text;
      this.input.setSelectionRange(caret, caret);
    }
    this.#keep();
    this.#suggestFor();
    this.#draw();
  }

  #endEdit() {
    const { desk, id } = this.props;
    desk.edits.delete(id);
    this.editing = undefined;
    this.people = [];
    this.error = undefined;
    this.#take(desk.drafts.get(id));
  }

  #cancel() {
    if (this.editing) this.#endEdit();
    else {
      this.replying = undefined;
      this.#keep();
      this.#draw();
    }
    this.focus();
  }

  #typed(event) {
    const { desk, id } = this.props;
    const text = event.target.value;
    this.mentions = moved(this.mentions, this.text, text);
    this.text = text;
    this.error = undefined;
    this.#keep();
    this.#suggestFor();
    this.#draw();
    if (text && !this.editing) desk.client.typing(id);
  }

  #grow() {
    const { input } = this;
    if (!input || this.grownFor === input.value) return;
    this.grownFor = input.value;
    input.style.height = "auto";
    input.style.height = `${Math.min(input.scrollHeight + 2, this.#tallest)}px`; // 2: the border
  }

  get #tallest() {
    return Math.min(200, Math.max(88, innerHeight * 0.3));
  }

  get #limit() {
    return this.props.desk.client.limits.text_chars ?? 8192;
  }

  // ---- sending ----

  async #submit() {
    const { desk, id, sent } = this.props;
    const { client } = desk;
    const { editing, replying } = this;
    const people = presentMembers(client.conversation(id)).map(({ user }) => ({ user: user.user, name: client.user(user.user)?.name ?? user.name }));
    const { text, mentions: chosen } = trimmed(this.text, this.mentions);
    if (!text || [...text].length > this.#limit) return;
    const mentions = typedByHand(text, chosen, people);
    const body = { text };
    if (mentions.length > 0) body.entities = toWire(text, mentions);
    if (isMarked(text)) body.format = "markup";
    if (editing) {
      this.#endEdit();
      this.focus();
      sent();
      if (text === editing.body.text) return;
      const { entities: _, format: __, ...others } = editing.body;
      try {
        await client.edit(id, editing.seq, { ...others, ...body });
      } catch (error) {
        desk.edits.set(id, { ...editing, text, mentions });
        this.editing = editing;
        this.#put(text, mentions, text.length);
        this.error = errorText(error);
      }
      return;
    }
    const users = [...new Set(mentions.map(({ user }) => user))];
    if (users.includes("@all") && !(await this.#sure())) return;
    client.send(id, "text", body, { reply_to: replying?.seq, mentions: users.includes("@all") ? ["@all"] : users });
    this.replying = undefined;
    this.#put("", [], 0);
    sent();
  }

  #sure() {
    const count = this.props.desk.client.conversation(this.props.id)?.count ?? 0;
    return count < MANY || confirmDialog(t("everyone.ask", count), t("send"));
  }

  // ---- keys ----

  #key(event) {
    const { people, at } = this;
    if (people.length > 0 && this.#suggestionKey(event, people, at)) return;
    const mark = (event.ctrlKey || event.metaKey) && (event.shiftKey ? { x: "~~" }[event.key.toLowerCase()] : MARKS[event.key.toLowerCase()]);
    const ctrl = event.ctrlKey || event.metaKey;
    if (event.key === "Enter" && !event.shiftKey && !coarse() && (settings.enter === "send" || ctrl)) {
      event.preventDefault();
      this.#submit();
    } else if (mark) {
      event.preventDefault();
      this.#mark(mark);
    } else if (ctrl && event.shiftKey && event.key.toLowerCase() === "u") {
      event.preventDefault();
      this.chooser.click();
    } else if (event.key === "Escape" && (this.editing || this.replying)) {
      event.stopPropagation();
      this.#cancel();
    } else if (event.key === "ArrowUp" && this.text === "" && !this.editing && !event.altKey) {
      event.preventDefault();
      if (event.shiftKey) this.props.replyLast();
      else this.props.editLast();
    } else if (event.key === "Tab" && event.shiftKey) {
      // Backwards out of the text lies the conversation, its newest message first.
      event.preventDefault();
      this.props.toMessages();
    }
  }

  /** Puts a mark on both sides of the selection, or takes it away. */
  #mark(mark, prefix = false) {
    const { input } = this;
    const { selectionStart: from, selectionEnd: to } = input;
    const { text } = this;
    const selected = text.slice(from, to);
    let put;
    if (prefix) put = selected.split("\n").map((line) => `${mark}${line}`).join("\n");
    else if (selected.startsWith(mark) && selected.endsWith(mark) && selected.length > 2 * mark.length) put = selected.slice(mark.length, -mark.length);
    else put = `${mark}${selected}${mark}`;
    const after = text.slice(0, from) + put + text.slice(to);
    this.#put(after, moved(this.mentions, text, after), from + put.length);
    input.focus();
    if (from === to) input.setSelectionRange(from + mark.length, from + mark.length);
    else input.setSelectionRange(from, from + put.length);
  }

  // ---- mentions ----

  #suggestFor() {
    const { desk, id } = this.props;
    const { client } = desk;
    const conversation = client.conversation(id);
    const caret = this.input?.selectionStart ?? 0;
    const wanted = conversation?.kind === "group" && document.activeElement === this.input ? asked(this.text, caret) : undefined;
    if (!wanted) {
      if (this.people.length > 0) this.#suggest([]);
      return;
    }
    client.loadMembers(id);
    const found = presentMembers(conversation)
      .filter(({ user }) => user.user !== client.me.user)
      .map(({ user }) => client.user(user.user) ?? user)
      .filter(({ name }) => matches(name, wanted.query))
      .slice(0, SUGGESTED);
    if (found.length < SUGGESTED && wanted.query && isLarger(conversation)) this.#findMore(wanted);
    for (const one of this.more?.query === wanted.query ? this.more.people : []) {
      if (found.length < SUGGESTED && !found.some(({ user }) => user === one.user)) found.push(one);
    }
    // Everybody is offered last, and never before the people are known: Enter, Enter must not call them all.
    const all = inEveryLanguage("everyone").some((name) => matches(name, wanted.query)) && ["owner", "admin"].includes(conversation.role);
    if (all && conversation.membersLoaded) found.push({ user: "@all", name: t("everyone") });
    this.asked = wanted;
    this.#suggest(found, Math.min(this.at, Math.max(0, found.length - 1)));
  }

  /** In a group too large to be held the server looks for the name, once per query. */
  async #findMore({ query }) {
    if (this.more?.query === query) return;
    const { desk, id } = this.props;
    this.more = { query, people: [] };
    const members = await findMembers(desk.client, id, query);
    if (this.more.query !== query) return;
    this.more.people = members.filter(({ user }) => user.user !== desk.client.me.user).map(({ user }) => user);
    this.#suggestFor();
  }

  #suggest(people, at = 0) {
    this.people = people;
    this.at = at;
    this.#draw();
  }

  #suggestionKey(event, people, at) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) this.#suggest(people, (at + step + people.length) % people.length);
    else if ((event.key === "Enter" && !event.shiftKey) || event.key === "Tab") this.#choose(people[at]);
    else if (event.key === "Escape") this.#suggest([]);
    else return false;
    event.preventDefault();
    event.stopPropagation();
    return true;
  }

  #choose({ user, name }) {
    const { text, asked: wanted } = this;
    const to = this.input.selectionStart;
    const said = `@${name}`;
    const after = `${text.slice(0, wanted.from)}${said} ${text.slice(to)}`;
    const others = moved(this.mentions, text, after);
    const mentions = [...others, { from: wanted.from, to: wanted.from + said.length, user }].sort((a, b) => a.from - b.from);
    this.#put(after, mentions, wanted.from + said.length + 1);
    this.focus();
  }

  #insert(put) {
    const { input, text } = this;
    const [from, to] = [input.selectionStart, input.selectionEnd];
    const after = text.slice(0, from) + put + text.slice(to);
    this.#put(after, moved(this.mentions, text, after), from + put.length);
  }

  // ---- drawing ----

  render({ desk, id }, { recording, emoji }) {
    const { client } = desk;
    const conversation = client.conversation(id);
    if (conversation.left) return h("p.composer-gone", t(conversation.dissolved ? "group.dissolved" : "group.left"));
    const silenced = conversation.role === "member" ? conversation.silencedUntil : undefined;
    const until = Math.max(conversation.mutedUntil ?? 0, silenced ?? 0);
    const silent = until > client.serverNow();
    return h(
      "form.composer",
      {
        onsubmit: (event) => {
          event.preventDefault();
          this.#submit();
        },
      },
      this.#suggestions(),
      emoji &&
        h(EmojiPanel, {
          pick: (one) => this.#insert(one),
          close: () => {
            this.setState({ emoji: false });
            this.focus();
          },
        }),
      this.#bar(client),
      silent && h("p.composer-silent", { role: "status" }, until > client.serverNow() + 3.2e10 ? t("silent") : t("silent.until", moment(until))),
      recording ? h(RecordingLine, this.#recording()) : this.#line(),
    );
  }

  #recording() {
    const back = (error) => {
      this.error = error;
      this.setState({ recording: false }, () => this.focus());
    };
    return {
      ended: () => back(),
      denied: () => back(t("voice.denied")),
      sent: (blob, options) => {
        back();
        this.props.desk.client.attach(this.props.id, blob, options);
        this.props.sent();
      },
    };
  }

  #line() {
    const { emoji, selecting } = this.state;
    const { text, error, editing: edit, people, at } = this;
    const length = text.length > this.#limit - NEAR_LIMIT ? [...text.trim()].length : 0;
    const left = this.#limit - length;
    const empty = text.trim() === "";
    const told = error ?? (left < 0 ? t("too.long", -left) : length > 0 && left <= NEAR_LIMIT ? t("chars.left", left) : "");
    return h(
      "div.composer-line",
      iconButton("smile", t("emoji"), () => this.setState({ emoji: !emoji }), { "aria-expanded": String(Boolean(emoji)) }),
      iconButton("clip", t("attach"), () => this.chooser.click()),
      h("input", {
        ref: (chooser) => (this.chooser = chooser ?? this.chooser),
        type: "file",
        multiple: true,
        hidden: true,
        "aria-label": t("attach"),
        onchange: ({ target }) => {
          const files = [...target.files];
          target.value = "";
          this.files(files);
        },
      }),
      selecting && this.#marks(),
      h("textarea.composer-input", {
        ref: (input) => (this.input = input ?? this.input),
        rows: 1,
        value: text,
        placeholder: t("write"),
        "aria-label": t("write"),
        "aria-activedescendant": people.length ? `suggestion-${at}` : undefined,
        dir: "auto",
        enterkeyhint: settings.enter === "send" ? "send" : "enter",
        oninput: (event) => this.#typed(event),
        onkeydown: (event) => this.#key(event),
        onselect: ({ target }) => this.#selected(target),
        onclick: ({ target }) => this.#selected(target),
        onkeyup: ({ target }) => this.#selected(target),
        onpaste: (event) => {
          const files = pastedFiles(event.clipboardData);
          if (files.length === 0) return;
          event.preventDefault();
          this.files(files);
        },
        onblur: () =>
          setTimeout(() => {
            if (document.activeElement === this.input) return;
            this.#suggest([]);
            this.setState({ selecting: false });
          }, 150),
      }),
      h("span.composer-count", { role: "status", class: error || left < 0 ? "danger" : "" }, told),
      canRecord() && empty && !edit && iconButton("mic", t("voice.record"), () => this.setState({ recording: true })),
      h("button.send", { type: "submit", "aria-label": t(edit ? "save" : "send"), title: t(edit ? "save" : "send"), disabled: empty || left < 0 }, icon("send")),
    );
  }

  #selected(input) {
    const selecting = input.selectionStart !== input.selectionEnd;
    if (selecting !== Boolean(this.state.selecting)) this.setState({ selecting });
    if (!selecting) this.#suggestFor();
  }

  #marks() {
    const button = (symbol, mark, prefix) =>
      h("button.icon-button", { type: "button", tabindex: -1, "aria-label": t(`format.${symbol}`), title: t(`format.${symbol}`), onpointerdown: (event) => event.preventDefault(), onclick: () => this.#mark(mark, prefix) }, icon(symbol));
    return h(
      "div.format-bar",
      { role: "toolbar", "aria-label": t("format") },
      button("bold", "**"),
      button("italic", "*"),
      button("strike", "~~"),
      button("code", "`"),
      button("quote", "> ", true),
      button("list", "- ", true),
    );
  }

  #bar(client) {
    const { editing: edit, replying: reply } = this;
    if (!edit && !reply) return null;
    return h(
      "div.composer-bar",
      icon(edit ? "edit" : "reply"),
      h(
        "div.composer-bar-text",
        h("span.quote-name", edit ? t("editing") : t("reply.to", nameOrYou(client, reply.sender))),
        h("span.quote-text", edit ? edit.body.text.slice(0, 200) : summaryOf(client, reply)),
      ),
      iconButton("close", t("cancel"), () => this.#cancel()),
    );
  }

  #suggestions() {
    const { people, at } = this;
    if (people.length === 0) return null;
    const mixed = mixedUp([...people, this.props.desk.client.me]);
    return h(
      "div.suggestions",
      { role: "listbox", id: "suggestions", "aria-label": t("mention") },
      people.map((person, index) =>
        h(
          "div.suggestion",
          {
            key: person.user,
            role: "option",
            id: `suggestion-${index}`,
            "aria-selected": String(index === at),
            onpointerdown: (event) => {
              event.preventDefault();
              this.#choose(person);
            },
          },
          h(Avatar, { id: person.user, name: person.name }),
          named(person, mixed),
        ),
      ),
    );
  }
}
