/** How people, conversations and messages are named and drawn. */
import { h } from "./dom.js";
import { has, t } from "./words.js";

const COLOURS = 8;

function colourOf(id) {
  let sum = 0;
  for (const character of id) sum = (sum * 31 + character.codePointAt(0)) >>> 0;
  return ((sum ^ (sum >>> 11)) * 2654435761 >>> 16) % COLOURS;
}

const segmenter = globalThis.Intl?.Segmenter ? new Intl.Segmenter() : undefined;

function firstLetter(name) {
  const trimmed = name.trim();
  const first = segmenter ? segmenter.segment(trimmed)[Symbol.iterator]().next().value?.segment : [...trimmed][0];
  return (first ?? "?").toUpperCase();
}

/** A coloured disc with the first letter; `online` draws the presence dot. */
export function avatar(id, name, { online = false, group = false, large = false } = {}) {
  const disc = h("span.avatar", { "aria-hidden": "true" }, firstLetter(name));
  disc.classList.add(`colour-${colourOf(id)}`);
  if (group) disc.classList.add("group");
  if (large) disc.classList.add("large");
  if (online) disc.append(h("span.presence"));
  return disc;
}

export function nameOf(client, id) {
  if (id === "@all") return t("everyone");
  return client.user(id)?.name ?? t("unknown");
}

/** As `nameOf`, but "You" for oneself. */
export function nameOrYou(client, id) {
  return id === client.me?.user ? t("you") : nameOf(client, id);
}

export function titleOf(client, conversation) {
  if (conversation.kind === "group") return conversation.name ?? "";
  return conversation.peer?.name ?? t("unknown");
}

/** One line that says what a message is. */
export function summaryOf(client, { kind, text, body, recalled, sender }) {
  if (recalled) return sender === client.me?.user ? t("recalled.mine") : t("recalled.other", nameOf(client, sender));
  if (kind === "text") return text ?? body?.text ?? "";
  if (kind === "emoji") return body?.emoji ?? text ?? t("kind.emoji");
  if (kind === "system") return body ? systemText(client, body) : t("kind.system");
  const label = has(`kind.${kind}`) ? t(`kind.${kind}`) : t("kind.other", kind);
  return text ? `[${label}] ${text}` : `[${label}]`;
}

export function systemText(client, { event, actor, subjects = [], args = {} }) {
  const names = {
    event,
    args,
    actor: actor ? nameOrYou(client, actor) : "",
    subjects: subjects.map((id) => (id === client.me?.user ? t("you.object") : nameOf(client, id))).join(t("list.and")),
  };
  const key = `system.${event}`;
  return has(key) ? t(key, names) : t("system.other", names);
}
