/** Where one writes: text, reply, edit, mentions, emoji. */
import { h, icon, iconButton, fill } from "./dom.js";
import { attach, canRecord, Recording } from "./attachments.js";
import { emojiPicker } from "./emoji.js";
import { avatar, nameOrYou, summaryOf } from "./people.js";
import { t } from "./words.js";

const SUGGESTED = 6;

const drafts = new Map(); // conversation → text, for as long as the page lives

export class Composer {
  #client;
  #id;
  #sent;
  #editLast;
  #mode; // undefined, {reply: message} or {edit: message}
  #picked = new Map(); // mentioned name → user id
  #suggesting;

  /** @param acts `{sent(), editLast()}` */
  constructor(client, id, { sent, editLast }) {
    this.#client = client;
    this.#id = id;
    this.#sent = sent;
    this.#editLast = editLast;
    this.bar = h("div.composer-bar", { hidden: true });
    this.input = h("textarea.composer-input", {
      rows: "1",
      placeholder: t("write"),
      "aria-label": t("write"),
      dir: "auto",
      enterkeyhint: "send",
      oninput: () => this.#typed(),
      onkeydown: (event) => this.#key(event),
      onpaste: (event) => this.#paste(event),
      onblur: () => setTimeout(() => this.#suggest([]), 150),
    });
    this.input.value = drafts.get(id) ?? "";
    this.count = h("span.composer-count", { role: "status" });
    this.button = h("button.send", { type: "submit", "aria-label": t("send"), title: t("send") }, icon("send"));
    this.emojiButton = iconButton("smile", t("emoji"), () => this.#toggleEmoji(), { "aria-expanded": "false" });
    this.suggestions = h("div.suggestions", { role: "listbox", hidden: true, id: "suggestions", "aria-label": t("mention") });
    this.element = h(
      "form.composer",
      {
        onsubmit: (event) => {
          event.preventDefault();
          this.#submit();
        },
      },
      this.suggestions,
      this.bar,
      this.#line(),
    );
    this.#grow();
  }

  #line() {
    const files = h("input", { type: "file", multiple: true, hidden: true, "aria-label": t("attach"), onchange: () => this.#attach(files) });
    const clip = iconButton("clip", t("attach"), () => files.click());
    this.mic = canRecord() ? iconButton("mic", t("voice.record"), () => this.#record()) : null;
    this.line = h("div.composer-line", this.emojiButton, clip, files, this.input, this.count, this.mic, this.button);
    return this.line;
  }

  #attach(input) {
    attach(this.#client, this.#id, [...input.files]);
    input.value = "";
    this.#sent();
    this.focus();
  }

  #paste(event) {
    const files = [...(event.clipboardData?.files ?? [])];
    if (files.length === 0) return;
    event.preventDefault();
    attach(this.#client, this.#id, files);
    this.#sent();
  }

  async #record() {
    const time = h("span.voice-time", "0:00");
    let recording;
    try {
      recording = await Recording.start((text) => (time.textContent = text));
    } catch {
      this.count.textContent = t("voice.denied");
      return;
    }
    const back = () => {
      bar.replaceWith(this.line);
      this.focus();
    };
    const bar = h(
      "div.composer-line.recording",
      iconButton("trash", t("cancel"), () => {
        recording.cancel();
        back();
      }),
      h("span.recording-dot", { "aria-hidden": "true" }),
      h("span", { role: "status" }, t("voice.recording")),
      time,
      h(
        "button.send",
        {
          type: "button",
          "aria-label": t("send"),
          onclick: async () => {
            const { blob, duration, levels } = await recording.stop();
            back();
            const name = `voice.${blob.type.split("/")[1]}`;
            this.#client.attach(this.#id, blob, { kind: "voice", name, body: { duration, levels } });
            this.#sent();
          },
        },
        icon("send"),
      ),
    );
    this.line.replaceWith(bar);
    bar.querySelector(".send").focus();
    this.cancelRecording = () => recording.cancel();
  }

  focus() {
    this.input.focus({ preventScroll: true });
  }

  /** The members may have come since "@" was typed. */
  refresh() {
    if (this.suggestions.hidden && document.activeElement === this.input) this.#suggestFor();
  }

  reply(message) {
    this.#setMode({ reply: message });
    this.focus();
  }

  edit(message) {
    if (!this.#mode?.edit) this.draftBefore = this.input.value;
    this.#setMode({ edit: message });
    this.input.value = message.body.text;
    this.#grow();
    this.focus();
  }

  cancel() {
    if (this.#mode?.edit) this.input.value = this.draftBefore ?? "";
    this.#setMode(undefined);
    this.#grow();
    this.focus();
  }

  #setMode(mode) {
    this.#mode = mode;
    const message = mode?.reply ?? mode?.edit;
    this.bar.hidden = !message;
    this.button.title = t(mode?.edit ? "save" : "send");
    this.button.setAttribute("aria-label", this.button.title);
    if (!message) return;
    fill(
      this.bar,
      icon(mode.reply ? "reply" : "edit"),
      h(
        "div.composer-bar-text",
        h("span.quote-name", mode.reply ? t("reply.to", nameOrYou(this.#client, message.sender)) : t("editing")),
        h("span.quote-text", summaryOf(this.#client, message)),
      ),
      iconButton("close", t("cancel"), () => this.cancel()),
    );
  }

  get #limit() {
    return this.#client.limits.text_chars ?? 8192;
  }

  #typed() {
    drafts.set(this.#id, this.input.value);
    this.#grow();
    if (this.input.value && !this.#mode?.edit) this.#client.typing(this.#id);
    this.#suggestFor();
  }

  #grow() {
    const { input } = this;
    if (input.isConnected) {
      input.style.height = "auto";
      input.style.height = `${Math.min(input.scrollHeight + 2, 160)}px`; // 2: the border
    } else requestAnimationFrame(() => input.isConnected && this.#grow());
    const over = [...input.value].length - this.#limit;
    this.count.textContent = over > 0 ? t("too.long", over) : "";
    this.button.disabled = over > 0 || input.value.trim() === "";
  }

  #key(event) {
    if (event.isComposing || event.keyCode === 229) return; // an input method is choosing characters
    if (!this.suggestions.hidden && this.#suggestionKey(event)) return;
    if (event.key === "Enter" && !event.shiftKey && !matchMedia("(pointer: coarse)").matches) {
      event.preventDefault();
      this.#submit();
    } else if (event.key === "Escape" && this.#mode) {
      event.stopPropagation();
      this.cancel();
    } else if (event.key === "ArrowUp" && this.input.value === "" && !this.#mode) {
      event.preventDefault();
      this.#editLast();
    }
  }

  async #submit() {
    const text = this.input.value.trim();
    if (!text || this.button.disabled) return;
    const mode = this.#mode;
    if (mode?.edit) {
      this.cancel();
      this.#sent();
      if (text === mode.edit.body.text) return;
      try {
        await this.#client.edit(this.#id, mode.edit.seq, { ...mode.edit.body, text });
      } catch (error) {
        this.edit(mode.edit);
        this.input.value = text;
        this.count.textContent = error.message;
      }
      return;
    }
    const mentions = [...this.#picked].filter(([name]) => text.includes(`@${name}`)).map(([, id]) => id);
    this.#client.sendText(this.#id, text, { reply_to: mode?.reply.seq, mentions: [...new Set(mentions)] });
    this.input.value = "";
    drafts.delete(this.#id);
    this.#picked.clear();
    this.#setMode(undefined);
    this.#suggest([]);
    this.#grow();
    this.#sent();
  }

  #insert(text) {
    const { input } = this;
    input.setRangeText(text, input.selectionStart, input.selectionEnd, "end");
    this.#typed();
  }

  #toggleEmoji() {
    if (this.panel) {
      this.#closeEmoji();
      return;
    }
    this.panel = emojiPicker((emoji) => this.#insert(emoji), () => this.#closeEmoji());
    this.element.insertBefore(this.panel, this.bar);
    this.emojiButton.setAttribute("aria-expanded", "true");
    this.panel.focusFirst();
    this.outside = (event) => {
      if (!this.element.contains(event.target)) this.#closeEmoji();
    };
    document.addEventListener("pointerdown", this.outside, true);
  }

  #closeEmoji() {
    this.panel?.remove();
    this.panel = undefined;
    this.emojiButton.setAttribute("aria-expanded", "false");
    document.removeEventListener("pointerdown", this.outside, true);
    this.focus();
  }

  // ---- mentions: "@" and the beginning of a name ----

  #suggestFor() {
    const conversation = this.#client.conversation(this.#id);
    if (conversation?.kind !== "group") return;
    const before = this.input.value.slice(0, this.input.selectionStart);
    const match = /(?:^|\s)@([^\s@]{0,30})$/u.exec(before);
    if (!match) {
      this.#suggest([]);
      return;
    }
    this.#client.loadMembers(this.#id);
    const wanted = match[1].toLowerCase();
    const found = [...(conversation.members?.values() ?? [])]
      .filter(({ user, spans }) => user.user !== this.#client.me.user && spans.at(-1).length === 1)
      .map(({ user }) => ({ id: user.user, name: this.#client.user(user.user)?.name ?? user.name }))
      .filter(({ name }) => name.toLowerCase().startsWith(wanted));
    if (["owner", "admin"].includes(conversation.role)) found.push(...(t("everyone").startsWith(wanted) ? [{ id: "@all", name: t("everyone") }] : []));
    this.#suggest(found.slice(0, SUGGESTED), match[1].length);
  }

  #suggest(people, typed = 0) {
    this.suggestions.hidden = people.length === 0;
    this.#suggesting = people.length ? { people, typed, at: 0 } : undefined;
    fill(
      this.suggestions,
      people.map((person, index) =>
        h(
          "div.suggestion",
          { role: "option", id: `suggestion-${index}`, "aria-selected": String(index === 0), onpointerdown: (event) => this.#choose(person, event) },
          avatar(person.id, person.name),
          h("span", person.name),
        ),
      ),
    );
    if (people.length) this.input.setAttribute("aria-activedescendant", "suggestion-0");
    else this.input.removeAttribute("aria-activedescendant");
  }

  #suggestionKey(event) {
    const { people } = this.#suggesting;
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) {
      this.#suggesting.at = (this.#suggesting.at + step + people.length) % people.length;
      [...this.suggestions.children].forEach((one, index) => one.setAttribute("aria-selected", String(index === this.#suggesting.at)));
      this.input.setAttribute("aria-activedescendant", `suggestion-${this.#suggesting.at}`);
    } else if (event.key === "Enter" || event.key === "Tab") this.#choose(people[this.#suggesting.at]);
    else if (event.key === "Escape") this.#suggest([]);
    else return false;
    event.preventDefault();
    event.stopPropagation();
    return true;
  }

  #choose({ id, name }, event) {
    event?.preventDefault();
    const { input } = this;
    const from = input.selectionStart - this.#suggesting.typed;
    this.#picked.set(name, id);
    input.setRangeText(`${name} `, from, input.selectionStart, "end");
    this.#suggest([]);
    this.#typed();
  }
}

