/** Text with its links, mentions and marks, as nodes. Everything else stays exactly the text it is. */
import { useState } from "../../vendor/preact.js";
import { nameOf } from "../people.js";
import { isEmojiOnly } from "../text/emoji.js";
import { parse, plainPieces } from "../../client/markup.js";
import { fromWire, guessed } from "../text/mentions.js";
import { inEveryLanguage, t } from "../words.js";
import { h } from "../views/h.js";

/** Longer ones are folded, by lines or letters. */
const LINES = 20;
const LETTERS = 1600;

/** The ranges of a message's text that name somebody. */
export function mentionsOf(client, { body, mentions = [] }) {
  const ranges = fromWire(body.text, body.entities);
  if (ranges.length > 0 || mentions.length === 0) return ranges;
  return guessed(
    body.text,
    mentions.map((user) => ({ user, names: user === "@all" ? inEveryLanguage("everyone") : [nameOf(client, user)] })),
  );
}

export function Text({ desk, said }) {
  const { text, format } = said.body;
  const [whole, setWhole] = useState(false);
  const long = !whole && (text.length > LETTERS || text.split("\n", LINES + 2).length > LINES + 1);
  const ranges = said.kind === "text" ? mentionsOf(desk.client, said) : [];
  const nodes = format === "markup" ? parse(text, ranges).map(block(desk)) : plainPieces(text, ranges).map(piece(desk));
  const huge = said.kind === "text" && isEmojiOnly(text);
  return [
    h("div.text", { dir: "auto", class: [huge && "huge", long && "folded"].filter(Boolean).join(" ") }, nodes),
    long && h("button.link.more-text", { type: "button", onclick: () => setWhole(true) }, t("show.more")),
  ];
}

const TAGS = { bold: "strong", italic: "em", strike: "s" };

function piece(desk) {
  const draw = (one, key) => {
    if (typeof one === "string") return one;
    if (one.type === "link") return h("a", { key, href: one.href, target: "_blank", rel: "noopener noreferrer nofollow" }, one.text);
    if (one.type === "mention") return h(Mention, { key, desk, user: one.user, text: one.text });
    if (one.type === "code") return h("code", { key }, one.text);
    return h(TAGS[one.type], { key }, one.children.map(draw));
  };
  return draw;
}

function Mention({ desk, user, text }) {
  const me = user === "@all" || user === desk.client.me.user;
  if (user === "@all") return h("span.mention", { class: me ? "me" : "" }, text);
  return h("span.mention", { class: me ? "me" : "", onclick: () => desk.profile(user) }, text);
}

function block(desk) {
  const draw = piece(desk);
  return ({ type, children, text, items, start, lang }, key) => {
    if (type === "code") return h("pre.code", { key, tabindex: 0, "aria-label": lang || t("format.code") }, h("code", text));
    if (type === "quote") return h("blockquote.quoted", { key }, children.map(draw));
    if (type === "bullets") return h("ul.bullets", { key }, items.map((item, at) => h("li", { key: at }, item.map(draw))));
    if (type === "numbers") return h("ol", { key, start }, items.map((item, at) => h("li", { key: at }, item.map(draw))));
    return h("span", { key }, children.map(draw));
  };
}
