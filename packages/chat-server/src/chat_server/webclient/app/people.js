/** How people, conversations and messages are named. */
import { has, listOf, t } from "./words.js";

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

/** The people who are in a conversation now, as far as they are known. */
export function presentMembers(conversation) {
  return [...(conversation?.members?.values() ?? [])].filter(({ spans }) => spans.at(-1)?.length === 1);
}

/** One line that says what a preview, a quote or a message is: `{kind, text, sender}` as the client's `preview` makes it. */
export function summaryOf(client, { kind, text, sender }) {
  if (kind === "recalled") return sender === client.me?.user ? t("recalled.mine") : t("recalled.other", nameOf(client, sender));
  if (kind === "text") return text ?? "";
  if (kind === "emoji") return text || t("kind.emoji");
  if (kind === "system") return has(`short.${text}`) ? t(`short.${text}`, nameOrYou(client, sender)) : t("kind.system");
  const label = has(`kind.${kind}`) ? t(`kind.${kind}`) : t("kind.other", kind);
  return text ? `[${label}] ${text}` : `[${label}]`;
}

export function systemText(client, { event, actor, subjects = [], args = {} }) {
  const names = {
    event,
    args,
    actor: actor ? nameOrYou(client, actor) : "",
    subjects: subjects.length ? listOf(shown(client, subjects)) : "",
  };
  const key = `system.${event}`;
  return has(key) ? t(key, names) : t("system.other", names);
}

/** At most so many names stand in one line. */
const NAMES = 6;

function shown(client, users) {
  const name = (id) => (id === client.me?.user ? t("you.object") : nameOf(client, id));
  if (users.length <= NAMES + 1) return users.map(name);
  return [...users.slice(0, NAMES).map(name), t("and.others", users.length - NAMES)];
}
