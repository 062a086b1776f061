/** One row of a conversation: a message, a message on its way, a day line, the new-messages line. */
import { h, icon, iconButton } from "./dom.js";
import { album, attachment } from "./attachments.js";
import { avatar, nameOf, nameOrYou, summaryOf, systemText } from "./people.js";
import { isEmojiOnly, richText } from "./richtext.js";
import { clock, dayName, fullTime, has, t } from "./words.js";

const ATTACHED = new Set(["image", "file", "voice", "video"]);
const STATES = { keeping: "clock", uploading: "clock", waiting: "clock", queued: "clock", sending: "clock", sent: "check", read: "checks", failed: "alert" };

export function dayRow(time) {
  return h("div.day", { role: "separator" }, h("span", dayName(time)));
}

export function newRow() {
  return h("div.new-line", { role: "separator" }, h("span", t("new")));
}

/**
 * @param row `{message?, entry?, mine, first, last, state, tiles?}`: `first` and `last` of its sender's group; `tiles`:
 *   the pictures that are drawn together, the last of which is `message`
 * @param acts `{menu(row), quote(seq), view(said), retry(ref), discard(ref)}`
 */
export function messageRow(client, conversation, row, acts) {
  const said = row.message ?? row.entry;
  if (said.kind === "system") return h("div.system", { tabindex: "-1" }, systemText(client, said.body ?? {}));
  if (said.recalled) {
    const line = h("div.system.recalled", { tabindex: "-1" }, summaryOf(client, said));
    line.title = fullTime(said.time);
    return line;
  }
  const sender = row.mine ? client.me.user : said.sender;
  const name = nameOf(client, sender);
  const time = said.time ?? said.at;
  const element = h("article.message", { tabindex: "-1", "aria-label": label(client, row, said, time) });
  element.classList.toggle("mine", row.mine);
  element.classList.toggle("first", row.first);
  element.classList.toggle("last", row.last);
  element.classList.toggle("failed", row.state === "failed");
  const group = conversation.kind === "group" && !row.mine;
  const bubble = h("div.bubble");
  if (group && row.first) bubble.append(h("div.sender", name));
  if (said.reply_to) bubble.append(quote(client, shownQuote(conversation, said.reply_to), acts));
  bubble.append(row.tiles?.length > 1 ? album(client, row.tiles, acts) : content(client, said, acts));
  bubble.append(
    h(
      "div.meta",
      said.edited_at ? h("span", t("edited")) : null,
      h("time", { datetime: new Date(time).toISOString(), title: fullTime(time) }, clock(time)),
      row.mine ? stateMark(row.state) : null,
    ),
  );
  if (said.reactions?.length) {
    bubble.append(h("div.reactions", said.reactions.map(({ emoji, count }) => h("span.reaction", `${emoji} ${count}`))));
  }
  if (group) element.append(row.last ? avatar(sender, name) : h("span.avatar-space"));
  element.append(bubble);
  if (row.state === "failed") {
    element.append(
      h(
        "div.failure",
        { role: "alert" },
        h("span", [t("state.failed"), reason(row.entry.error)].filter(Boolean).join(": ")),
        row.entry.error?.code !== "empty" && h("button.link", { type: "button", onclick: () => acts.retry(row.entry.ref) }, t("retry")),
        h("button.link", { type: "button", onclick: () => acts.discard(row.entry.ref) }, t("discard")),
      ),
    );
  } else if (row.message || !row.entry.blob) {
    const more = iconButton("more", t("more"), () => acts.menu(row), { tabindex: "-1", "aria-haspopup": "menu" });
    more.classList.add("more");
    element.append(more);
  }
  return element;
}

/** @param error of a message or an upload; `until`: the day's quota is used up till then */
function reason(error) {
  if (error?.code === "empty") return t("error.empty");
  return error?.until ? t("error.quota", clock(error.until)) : error?.message;
}

function said_state(state) {
  return ["keeping", "queued", "uploading", "waiting"].includes(state) ? "sending" : state;
}

function stateMark(state) {
  if (state === "keeping") return h("span.state.keeping", { "aria-hidden": "true" }, icon(STATES[state])); // its space
  return h("span.state", { role: "img", "aria-label": t(`state.${said_state(state)}`) }, icon(STATES[state]));
}

function label(client, row, said, time) {
  const parts = [row.mine ? t("you") : nameOf(client, said.sender), summaryOf(client, said), clock(time)];
  if (row.mine) parts.push(t(`state.${said_state(row.state)}`));
  return parts.join(", ");
}

/** Of a message that was recalled since nothing is quoted any more. */
function shownQuote({ timeline }, { text, ...said }) {
  return timeline?.get(said.seq)?.recalled ? { ...said, recalled: true } : { ...said, text };
}

function quote(client, said, acts) {
  const { seq, sender } = said;
  return h(
    "button.quote",
    { type: "button", tabindex: "-1", onclick: () => acts.quote(seq) },
    h("span.quote-name", nameOrYou(client, sender)),
    h("span.quote-text", summaryOf(client, said)),
  );
}

function content(client, said, acts) {
  if (ATTACHED.has(said.kind) && (said.body?.file || said.blob)) return attachment(client, said, acts);
  const { kind, body = {} } = said;
  if (kind === "emoji" && body.emoji) return h("div.text.huge", body.emoji);
  if (kind === "text" && body.text) {
    const text = h("div.text", { dir: "auto" });
    if (isEmojiOnly(body.text)) text.classList.add("huge");
    text.append(...richText(body.text, (said.mentions ?? []).map((id) => nameOf(client, id))));
    return text;
  }
  if (kind === "location" && Number.isFinite(body.lat) && Number.isFinite(body.lon)) {
    const place = `${body.lat.toFixed(5)}, ${body.lon.toFixed(5)}`;
    return card("pin", body.label ?? t("kind.location"), place);
  }
  if (kind === "card") return card("users", nameOf(client, body.user), t("kind.card"));
  // A kind of a plugin that this page does not know: at least its name.
  const label = has(`kind.${kind}`) ? t(`kind.${kind}`) : t("kind.other", kind);
  return card("file", typeof body.name === "string" ? body.name : label, label);
}

function card(symbol, title, detail) {
  return h("div.card", icon(symbol), h("div", h("div.card-title", title), h("div.card-detail", detail)));
}
