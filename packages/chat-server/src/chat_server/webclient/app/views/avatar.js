/** Discs with a first letter or a picture. */
import { h } from "./h.js";

const COLOURS = 8;
const segmenter = new Intl.Segmenter();

function colourOf(id) {
  let sum = 0;
  for (const character of id) sum = (sum * 31 + character.codePointAt(0)) >>> 0;
  return ((((sum ^ (sum >>> 11)) * 2654435761) >>> 16) >>> 0) % COLOURS;
}

function firstLetter(name) {
  const first = segmenter.segment(name.trim())[Symbol.iterator]().next().value?.segment;
  return [...(first ?? "?")].slice(0, 8).join("").toUpperCase(); // a letter may carry a hundred marks
}

/** A coloured disc with the first letter; `online` draws the presence dot. */
export function Avatar({ id, name, online = false, group = false, size = "" }) {
  const kinds = ["avatar", `colour-${colourOf(id)}`, group && "group", size].filter(Boolean);
  return h("span", { class: kinds.join(" "), "aria-hidden": "true" }, h("span.avatar-letter", firstLetter(name)), online && h("span.presence"));
}
