/**
 * A small markup as a tree, never as HTML: `**bold** *italic* ~~strike~~ `code``, fences, quotes, lists. A view turns the
 * tree into nodes. What is found in any text, links and mentions, is found here too and is never touched by marks.
 */
import { links } from "./links.js";

const MARKS = { "**": "bold", __: "bold", "*": "italic", _: "italic", "~~": "strike" };
const WORD = /[A-Za-z0-9\u00c0-\u024f]/; // a mark inside a Latin word or a number is a letter: snake_case, 2*3*4
const DEPTH = 8;
/** Stands for a link or a mention while marks are looked for: a lone surrogate, which no text that is sent can hold. */
const HELD = "\udbff";
const HELD_FROM = 0x100;

/**
 * Blocks `{type: "text" | "quote", children}`, `{type: "code", lang, text}`, `{type: "bullets" | "numbers", start, items}`.
 * Children are strings, `{type: "bold" | "italic" | "strike", children}`, `{type: "code", text}`, `{type: "link", href, text}`
 * and `{type: "mention", user, text}`.
 * @param {string} text
 * @param {{from: number, to: number, user: string}[]} mentions ranges of it, in UTF-16 units, ascending
 */
export function parse(text, mentions = []) {
  const { held, atoms } = hold(text, mentions);
  const lines = held.split("\n");
  const blocks = [];
  let plain = [];
  const close = () => {
    if (plain.length > 0) blocks.push({ type: "text", children: inline(plain.join("\n"), atoms) });
    plain = [];
  };
  for (let at = 0; at < lines.length; at += 1) {
    const fence = /^```([\w+#-]{0,20})\s*$/.exec(lines[at]);
    const end = fence ? lines.indexOf("```", at + 1) : -1;
    const list = /^(?:[-•]|(\d{1,4})[.)])\s+(.*)/.exec(lines[at]);
    if (end > 0) {
      close();
      blocks.push({ type: "code", lang: fence[1], text: release(lines.slice(at + 1, end).join("\n"), atoms) });
      at = end;
    } else if (/^>\s?/.test(lines[at])) {
      close();
      const quoted = [];
      for (; at < lines.length && /^>\s?/.test(lines[at]); at += 1) quoted.push(lines[at].replace(/^>\s?/, ""));
      at -= 1;
      blocks.push({ type: "quote", children: inline(quoted.join("\n"), atoms) });
    } else if (list) {
      close();
      const type = list[1] === undefined ? "bullets" : "numbers";
      const last = blocks.at(-1)?.type === type ? blocks.pop() : { type, start: Number(list[1] ?? 1), items: [] };
      last.items.push(inline(list[2], atoms));
      blocks.push(last);
    } else plain.push(lines[at]);
  }
  close();
  return blocks;
}

/** Links and mentions alone, everything else exactly the text it is. */
export function plainPieces(text, mentions = []) {
  const pieces = [];
  let from = 0;
  for (const atom of found(text, mentions)) {
    if (atom.from > from) pieces.push(text.slice(from, atom.from));
    pieces.push(atom.node);
    from = atom.to;
  }
  if (from < text.length) pieces.push(text.slice(from));
  return pieces;
}

/** Whether the marks of a text would change how it is drawn. */
export function isMarked(text) {
  const blocks = parse(text);
  return blocks.length > 1 || blocks.some(({ type, children }) => type !== "text" || children.some(({ type: inner }) => MARKED.has(inner)));
}

const MARKED = new Set(["bold", "italic", "strike", "code"]);

/** The text without its marks: for lists, quotes and notifications. */
export function plain(text) {
  return parse(text).map(plainBlock).join("\n");
}

function plainBlock({ type, children, text, items }) {
  if (type === "code") return text;
  if (items) return items.map(plainOf).join("\n");
  return plainOf(children);
}

function plainOf(children) {
  return children.map((one) => (typeof one === "string" ? one : (one.text ?? plainOf(one.children)))).join("");
}

/** Links and mentions in order; where both want a place, the mention has it. */
function found(text, mentions) {
  const named = mentions.map(({ from, to, user }) => ({ from, to, node: { type: "mention", user, text: text.slice(from, to) } }));
  const free = links(text).filter(({ from, to }) => !mentions.some((one) => one.from < to && one.to > from));
  const linked = free.map(({ from, to, href }) => ({ from, to, node: { type: "link", href, text: text.slice(from, to) } }));
  return [...named, ...linked].sort((one, other) => one.from - other.from);
}

function hold(text, mentions) {
  const atoms = [];
  let held = "";
  let from = 0;
  for (const atom of found(text, mentions)) {
    held += text.slice(from, atom.from) + HELD + String.fromCharCode(HELD_FROM + atoms.length);
    atoms.push(atom.node);
    from = atom.to;
  }
  return { held: held + text.slice(from), atoms };
}

function release(held, atoms) {
  return held.replaceAll(/\udbff[\u0100-\ud7ff]/g, (pair) => atoms[pair.charCodeAt(1) - HELD_FROM]?.text ?? pair);
}

/** Marks pair up with the nearest opener of their kind; what has no partner stays text. */
function inline(text, atoms) {
  const out = [];
  const open = []; // {mark, at: index in out}
  let from = 0;
  const say = (to) => to > from && out.push(text.slice(from, to));
  for (let at = 0; at < text.length; ) {
    const atom = text[at] === HELD ? atoms[text.charCodeAt(at + 1) - HELD_FROM] : undefined;
    if (atom) {
      say(at);
      out.push(atom);
      from = at += 2;
      continue;
    }
    if (text[at] === "`") {
      const run = /^`+/.exec(text.slice(at, at + 4))[0];
      const end = text.indexOf(run, at + run.length);
      if (end > at + run.length) {
        say(at);
        out.push({ type: "code", text: release(text.slice(at + run.length, end), atoms) });
        from = at = end + run.length;
        continue;
      }
    }
    if (text[at] === "\\" && "*_~`\\".includes(text[at + 1] ?? " ")) {
      say(at);
      from = at + 1;
      at += 2;
      continue;
    }
    const mark = MARKS[text.slice(at, at + 2)] ? text.slice(at, at + 2) : MARKS[text[at]] ? text[at] : undefined;
    if (!mark) {
      at += 1;
      continue;
    }
    const [before, after] = [text[at - 1] ?? " ", text[at + mark.length] ?? " "];
    const opener = open.findLastIndex((one) => one.mark === mark);
    const inside = WORD.test(before) && WORD.test(after);
    if (opener >= 0 && !/\s/.test(before) && !inside && out.length + (at > from) > open[opener].at + 1) {
      say(at);
      const [, ...children] = out.splice(open[opener].at);
      open.splice(opener);
      out.push({ type: MARKS[mark], children: asText(children) });
      from = at += mark.length;
    } else if (!/\s/.test(after) && !inside && open.length < DEPTH) {
      say(at);
      open.push({ mark, at: out.length });
      out.push({ mark });
      from = at += mark.length;
    } else at += mark.length;
  }
  say(text.length);
  return asText(out);
}

/** Marks that found no partner are what was typed. */
const asText = (children) => children.map((one) => one.mark ?? one);
