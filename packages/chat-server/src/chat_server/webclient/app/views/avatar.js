/** Discs with a first letter or a picture. */
import { useState } from "../../vendor/preact.js";
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

/** The address of a picture, which is relative to the server's; what lies elsewhere is not loaded. */
function addressOf(picture) {
  if (!picture || !URL.canParse(picture, document.baseURI)) return undefined;
  const url = new URL(picture, document.baseURI);
  return url.origin === location.origin ? url.href : undefined;
}

/** A picture, or a coloured disc with the first letter; `online` draws the presence dot. */
export function Avatar({ id, name, picture, online = false, group = false, size = "" }) {
  const [broken, breakIt] = useState();
  const kinds = ["avatar", `colour-${colourOf(id)}`, group && "group", size].filter(Boolean);
  const url = addressOf(picture);
  return h(
    "span",
    { class: kinds.join(" "), "aria-hidden": "true" },
    url && url !== broken
      ? h("img.avatar-picture", { src: url, alt: "", loading: "lazy", draggable: false, onerror: () => breakIt(url) })
      : h("span.avatar-letter", firstLetter(name)),
    online && h("span.presence"),
  );
}
