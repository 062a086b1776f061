/** One message, or one on its way. */
import { Component } from "../../vendor/preact.js";
import { preview } from "../../chat-client.js";
import { Content, kindName } from "../kinds/kinds.js";
import { Album } from "../kinds/picture.js";
import { nameOf, nameOrYou, summaryOf, systemText } from "../people.js";
import { settings } from "../settings.js";
import { coloured } from "../text/emoji.js";
import { Avatar } from "../views/avatar.js";
import { Guard, h, icon, iconButton } from "../views/h.js";
import { clock, errorText, fullTime, t } from "../words.js";

const STATES = { keeping: "clock", uploading: "clock", waiting: "clock", queued: "clock", sending: "clock", sent: "check", read: "checks", failed: "alert" };
const QUICK = ["👍️", "❤️", "😂"];
const SHOWN_REACTIONS = 8;

/** Emoji that are offered at once. */
export const quickEmoji = (count = 3) => [...new Set([...settings.recent, ...QUICK, "🎉", "😮", "😢", "🙏"])].slice(0, count);

/** Drawn again exactly when its signature has changed, so that the rest of the page may change as often as it likes. */
export class Row extends Component {
  shouldComponentUpdate({ signature, hot }) {
    return signature !== this.props.signature || hot !== this.props.hot;
  }

  render({ desk, id, line, acts, hot }) {
    const said = line.message ?? line.entry;
    const of = line.message?.rev ?? line.entry?.ref;
    return h(Guard, { of, fallback: () => h("article.message", { tabindex: -1 }, h("div.bubble", `[${kindName(said.kind)}]`)) }, h(Message, { desk, id, line, acts, hot }));
  }
}

/** Stands for those who run the server, where they have taken a message down. */
const MODERATORS = "@moderators";

function Message({ desk, id, line, acts, hot }) {
  const { client } = desk;
  const conversation = client.conversation(id);
  const said = line.message ?? line.entry;
  if (said.kind === "system") return h("div.system", { tabindex: -1 }, systemText(client, said.body ?? {}));
  if (said.recalled) return h("div.system.recalled", { tabindex: -1, title: fullTime(said.time) }, said.recalled.by === MODERATORS ? t("recalled.moderators") : summaryOf(client, preview(said)));
  const sender = line.mine ? client.me.user : said.sender;
  const name = nameOf(client, sender);
  const time = said.time ?? said.at;
  const group = conversation.kind === "group" && !line.mine;
  const { failed } = { failed: line.state === "failed" };
  const classes = ["message", line.mine && "mine", line.first && "first", line.last && "last", failed && "failed", hot && "hot"].filter(Boolean);
  const last = line.tiles?.length > 1;
  return h(
    "article",
    { class: classes.join(" "), tabindex: -1, "aria-label": label(client, line, said, time) },
    group && (line.last ? h("button.avatar-button", { type: "button", tabindex: -1, "aria-label": name, onclick: () => desk.profile(sender) }, h(Avatar, { id: sender, name, picture: client.user(sender)?.avatar })) : h("span.avatar-space")),
    h(
      "div.bubble",
      group && line.first && h("div.sender", { dir: "auto" }, name),
      said.reply_to && h(Quote, { client, said: shownQuote(conversation, said.reply_to), acts }),
      last ? [h(Album, { desk, messages: line.tiles, acts }), said.body.text && h("div.text", { dir: "auto" }, said.body.text)] : h(Content, { desk, said, acts }),
      h(
        "div.meta",
        said.edited_at && h("span", { title: fullTime(said.edited_at) }, t("edited")),
        h("time", { datetime: new Date(time).toISOString(), title: fullTime(time) }, clock(time)),
        line.mine && h(StateMark, { state: line.state }),
      ),
      said.reactions?.length || line.pills ? h(Pills, { desk, message: said, acts }) : null,
    ),
    failed && h(Failure, { entry: line.entry, acts }),
    hot && line.message && h(HoverBar, { line, acts }),
  );
}

function Failure({ entry, acts }) {
  const { error } = entry;
  const why = error?.code === "empty" ? t("error.empty") : error && errorText(error);
  const picture = entry.blob && entry.kind === "image" && !entry.plain && error?.code === "invalid";
  return h(
    "div.failure",
    { role: "alert" },
    h("span", [t("state.failed"), why].filter(Boolean).join(": ")),
    picture && h("button.link", { type: "button", onclick: () => acts.asFile(entry.ref) }, t("send.as.file")),
    error?.code !== "empty" && h("button.link", { type: "button", onclick: () => acts.retry(entry.ref) }, t("retry")),
    h("button.link", { type: "button", onclick: () => acts.discard(entry.ref) }, t("discard")),
  );
}

/** For the mouse alone: by keyboard the row itself knows the same as keys, and Enter opens the menu. */
function HoverBar({ line, acts }) {
  return h(
    "div.hover-bar",
    { "aria-hidden": "true" },
    quickEmoji().map((emoji) => h("button.hover-emoji", { key: emoji, type: "button", tabindex: -1, onclick: () => acts.react(line.message, emoji) }, emoji)),
    iconButton("smile", t("react"), (event) => acts.pick(line.message, event.currentTarget), { tabindex: -1 }),
    iconButton("reply", t("reply"), () => acts.reply(line.message), { tabindex: -1 }),
    iconButton("more", t("more"), (event) => acts.menu(line, event.currentTarget), { tabindex: -1 }),
  );
}

class Pills extends Component {
  componentDidMount() {
    const { desk, message } = this.props;
    desk.reactions.ask(message);
  }

  componentDidUpdate() {
    this.componentDidMount();
  }

  render({ desk, message, acts }) {
    const { client } = desk;
    const all = desk.reactions.of(message);
    const shown = all.slice(0, this.state.whole ? undefined : SHOWN_REACTIONS);
    const who = ({ users }) => (users?.length ? users.map((user) => nameOrYou(client, user)).join(t("list.and")) : undefined);
    return h(
      "div.reactions",
      shown.map((row) =>
        h(
          "button.reaction",
          {
            key: row.emoji,
            type: "button",
            tabindex: -1,
            "aria-pressed": String(Boolean(row.mine)),
            "aria-label": t("reaction", row.emoji, row.count),
            title: who(row),
            onclick: () => acts.react(message, row.emoji),
          },
          `${coloured(row.emoji)} ${row.count}`,
        ),
      ),
      all.length > shown.length && h("button.reaction", { type: "button", tabindex: -1, onclick: () => this.setState({ whole: true }) }, `+${all.length - shown.length}`),
    );
  }
}

const saidState = (state) => (["keeping", "queued", "uploading", "waiting"].includes(state) ? "sending" : state);

function StateMark({ state }) {
  if (state === "keeping") return h("span.state.keeping", { "aria-hidden": "true" }, icon(STATES[state])); // its space
  return h("span.state", { role: "img", "aria-label": t(`state.${saidState(state)}`) }, icon(STATES[state]));
}

/** Author, text, how many reactions, time, state: what is spoken of a row. */
function label(client, line, said, time) {
  const count = (said.reactions ?? []).reduce((sum, one) => sum + one.count, 0);
  return [
    line.mine ? t("you") : nameOf(client, said.sender),
    summaryOf(client, preview(said)),
    count > 0 && t("reactions", count),
    clock(time),
    line.mine && t(`state.${saidState(line.state)}`),
  ]
    .filter(Boolean)
    .join(", ");
}

/** Of a message that was recalled since nothing is quoted any more. */
function shownQuote({ timeline }, said) {
  return timeline?.get(said.seq)?.recalled ? { ...said, kind: "recalled", text: "" } : said;
}

function Quote({ client, said, acts }) {
  return h(
    "button.quote",
    { type: "button", tabindex: -1, onclick: () => acts.quote(said.seq) },
    h("span.quote-name", nameOrYou(client, said.sender)),
    h("span.quote-text", summaryOf(client, said)),
  );
}

/** Changes exactly when the row has to be drawn anew. */
export function signature(desk, conversation, { message, entry, first, last, state, tiles = [] }, page) {
  const { client } = desk;
  const said = message ?? entry;
  const quoted = said.reply_to && conversation.timeline?.get(said.reply_to.seq)?.rev;
  const people = [said.sender, said.reply_to?.sender, ...(said.mentions ?? [])];
  if (said.kind === "system") people.push(said.body?.actor, ...(said.body?.subjects ?? []));
  const names = people.map((id) => (id && id !== "@all" ? `${client.user(id)?.name ?? "?"} ${client.user(id)?.avatar ?? ""}` : ""));
  const reacted = message ? desk.reactions.of(message).map(({ emoji, count, mine, users }) => `${emoji}${count}${mine}${users?.length}`) : [];
  const shown = tiles.map(({ seq, rev }) => `${seq}.${rev}`);
  return [page, message?.rev ?? `${entry.ref}.${entry.kind}`, quoted ?? "", shown.join(), state, first, last, entry?.error?.code ?? "", reacted.join(), ...names].join("\u0000");
}
