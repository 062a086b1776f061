/** Text with its links and mentions, as nodes. Everything else stays exactly the text it is. */
import { h } from "./dom.js";

const LINK = /(?:https?:\/\/|(?<![\p{L}\p{N}.@/-])www\.(?=[\p{L}\p{N}-]+\.))[^\s<>"'`，。！？；：、（）【】《》「」]+/giu;
const TRAILING = /[.,!?;:)\]}'"*_]+$/;
const EMOJI_ONLY = /^(?:\p{Extended_Pictographic}[\u{1f3fb}-\u{1f3ff}\ufe0f]*(?:\u200d\p{Extended_Pictographic}[\u{1f3fb}-\u{1f3ff}\ufe0f]*)*\s*){1,3}$/u;

export function isEmojiOnly(text) {
  return text.length < 40 && EMOJI_ONLY.test(text);
}

/** @param names of the people mentioned, without the @ */
export function richText(text, names = []) {
  const nodes = [];
  let from = 0;
  for (const match of text.matchAll(LINK)) {
    let link = match[0];
    const trailing = TRAILING.exec(link)?.[0] ?? "";
    // "(https://en.wikipedia.org/wiki/Foo_(bar))" keeps the bracket that belongs to it
    if (!(trailing.startsWith(")") && link.includes("("))) link = link.slice(0, link.length - trailing.length);
    const href = link.toLowerCase().startsWith("www.") ? `https://${link}` : link;
    if (!URL.canParse(href)) continue;
    nodes.push(...mentions(text.slice(from, match.index), names));
    nodes.push(h("a", { href, target: "_blank", rel: "noopener noreferrer nofollow" }, link));
    from = match.index + link.length;
  }
  nodes.push(...mentions(text.slice(from), names));
  return nodes;
}

function mentions(text, names) {
  if (!text) return [];
  let first;
  for (const name of names) {
    const at = text.indexOf(`@${name}`);
    if (at >= 0 && (!first || at < first.at || (at === first.at && name.length > first.name.length))) first = { at, name };
  }
  if (!first) return [text];
  const end = first.at + first.name.length + 1;
  return [
    ...(first.at > 0 ? [text.slice(0, first.at)] : []),
    h("span.mention", text.slice(first.at, end)),
    ...mentions(text.slice(end), names),
  ];
}
