/** The short form of a message, which lists, quotes and notifications show: the same that the server keeps. */

import { plain } from "./markup.js";

/** As the server cuts: one line of at most so many code points. */
const LONGEST = 100;

/**
 * `{sender, kind, text}`. The kind of a recalled message is `recalled`, the text of a system message is its event; a list
 * that was read from the server and one that grew by pushes hold the same, and the words are the page's.
 * @param {{sender: string, kind: string, body?: any, recalled?: object}} message
 */
export function preview({ sender, kind, body = {}, recalled }) {
  if (recalled) return { sender, kind: "recalled", text: "" };
  return { sender, kind, text: shorten(textOf(kind, body)) };
}

function textOf(kind, body) {
  switch (kind) {
    case "text":
      return body.format === "markup" && typeof body.text === "string" ? plain(body.text) : body.text;
    case "emoji":
      return body.emoji;
    case "file":
      return body.name;
    case "location":
      return body.label;
    case "system":
      return body.event;
    default: // captions; and for the kinds of plugins, what most of them call it
      return body.text;
  }
}

export function shorten(text) {
  if (typeof text !== "string") return "";
  const line = [...text.slice(0, 8 * LONGEST).split(/\s+/u).filter(Boolean).join(" ")];
  return line.length <= LONGEST ? line.join("") : `${line.slice(0, LONGEST - 1).join("")}…`;
}
