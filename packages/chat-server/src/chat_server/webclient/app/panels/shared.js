/** What was shared in a conversation: its pictures, files and links, newest first, a page at a time. Each leads to its message. */
import { nameOrYou } from "../people.js";
import { useAddress } from "../kinds/address.js";
import { useMessages } from "../search/found.js";
import { h, icon } from "../views/h.js";
import { moment, sizeOf, t } from "../words.js";

const WANTED = { pictures: { kinds: ["image", "video"], limit: 30 }, files: { kinds: ["file"] }, links: { links: true } };
export const SHARED = Object.keys(WANTED);

/** @param props `what`: one of SHARED; `go(seq)`: to that message */
export function Shared({ desk, id, what, go }) {
  const { client } = desk;
  const found = useMessages(client, { conversation: id, ...WANTED[what] });
  const state = found.error ?? (found.none ? t(`shared.${what}.none`) : found.busy && !found.hits.length ? t("loading") : undefined);
  return [
    state && h("p.list-hint", { key: "state", role: "status" }, found.off ? t("search.off") : state),
    what === "pictures"
      ? h("ul.shared-pictures", { key: what }, found.hits.map(({ message }) => h("li", { key: message.seq }, h(Thumb, { client, message, go }))))
      : h("ul.members", { key: what }, found.hits.map((hit) => h("li", { key: hit.message.seq }, h(Line, { client, hit, what, go })))),
    found.more && h("button.secondary", { key: "more", type: "button", onclick: found.more }, t("show.more")),
  ];
}

function Thumb({ client, message, go }) {
  const { body, kind, time } = message;
  const { url, broken, refused } = useAddress(client, message, kind === "video" ? "poster" : "small");
  const name = `${body.text || body.name || t(`kind.${kind}`)}, ${moment(time)}`;
  return h(
    "button.shared-picture",
    { type: "button", "aria-label": name, title: name, onclick: () => go(message.seq) },
    url && !broken ? h("img", { alt: "", src: url, decoding: "async", draggable: false, onerror: refused }) : icon(kind === "video" ? "play" : "picture"),
  );
}

function Line({ client, hit: { message, text }, what, go }) {
  const { body, sender, time } = message;
  const facts = [what === "files" && body.size !== undefined && sizeOf(body.size), nameOrYou(client, sender), moment(time)].filter(Boolean).join(" · ");
  return h(
    "button.shared-line",
    { type: "button", onclick: () => go(message.seq) },
    icon(what === "files" ? "file" : "link"),
    h("span.list-text", h("span.list-title", { dir: "auto" }, what === "files" ? body.name || t("kind.file") : text), h("span.list-preview", facts)),
  );
}
