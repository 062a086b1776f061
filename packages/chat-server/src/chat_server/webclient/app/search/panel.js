/** Search in one conversation, beside it or over it: words, and who, when and what. */
import { useEffect, useLayoutEffect, useRef, useState } from "../../vendor/preact.js";
import { preview } from "../../chat-client.js";
import { nameOf, nameOrYou, presentMembers, summaryOf } from "../people.js";
import { open } from "../route.js";
import { Avatar } from "../views/avatar.js";
import { Dialog } from "../views/dialog.js";
import { h, iconButton, useClient } from "../views/h.js";
import { byName, moment, t } from "../words.js";
import { Marked, useMessages } from "./found.js";

const KINDS = { any: {}, text: { kinds: ["text"] }, picture: { kinds: ["image", "video"] }, file: { kinds: ["file"] }, voice: { kinds: ["voice"] }, link: { links: true } };
const DAY = 86_400_000;

/** Midnight of a date as a field gives it, in one's own zone. */
const startOf = (date) => (date ? new Date(`${date}T00:00:00`).getTime() : undefined);

/** @param props `sheet`: as a dialog over the page, where there is no room beside */
export function SearchPanel({ desk, id, sheet, close }) {
  const title = t("search.here");
  if (sheet) return h(Dialog, { title, kind: ".sheet", close }, h("div.dialog-body.find", h(Find, { desk, id, jump: close })));
  return h(
    "aside.panel",
    { "aria-label": title },
    h("header.panel-head", h("h2", title), iconButton("close", t("close"), close)),
    h("div.panel-body.find", h(Find, { desk, id })),
  );
}

function Find({ desk, id, jump }) {
  const { client } = desk;
  useClient(client, ["conversation", "users"], (changed, event) => event !== "conversation" || changed === id);
  const [text, setText] = useState("");
  const [kind, setKind] = useState("any");
  const [sender, setSender] = useState("");
  const [from, setFrom] = useState("");
  const [to, setTo] = useState("");
  const [at, setAt] = useState(0);
  const field = useRef();
  const list = useRef();
  const end = startOf(to);
  const filter = { ...KINDS[kind], sender: sender || undefined, since: startOf(from), until: end && end + DAY };
  const query = text.trim();
  const narrowed = kind !== "any" || sender || from || to;
  const found = useMessages(client, query || narrowed ? { query: query || undefined, conversation: id, ...filter } : undefined);
  const { hits } = found;
  const chosen = Math.min(at, hits.length - 1);
  useLayoutEffect(() => field.current.focus(), []);
  useEffect(() => {
    client.loadMembers(id);
  }, [id]);
  useEffect(() => list.current?.querySelector('[aria-selected="true"]')?.scrollIntoView({ block: "nearest" }), [chosen, hits.length]);
  const people = presentMembers(client.conversation(id)).map(({ user }) => client.user(user.user) ?? user);
  const go = (hit) => {
    open(id, hit.message.seq);
    jump?.();
  };
  const again = (set) => (event) => {
    set(event.target.value);
    setAt(0);
  };
  function onkeydown(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step && hits.length) {
      if (step > 0 && chosen === hits.length - 1) found.more?.();
      setAt(Math.max(0, Math.min(hits.length - 1, chosen + step)));
    } else if (event.key === "Enter" && hits[chosen]) go(hits[chosen]);
    else if (event.key === "Escape" && text) setText("");
    else return;
    event.preventDefault();
    event.stopPropagation();
  }
  return [
    h("input", {
      key: "query",
      ref: field,
      type: "search",
      value: text,
      role: "combobox",
      "aria-expanded": String(hits.length > 0),
      "aria-controls": "found-list",
      "aria-activedescendant": hits.length ? `found-${chosen}` : undefined,
      placeholder: t("search.words"),
      "aria-label": t("search.words"),
      "data-autofocus": "",
      autocomplete: "off",
      maxlength: 100,
      oninput: again(setText),
      onkeydown,
    }),
    h(
      "div.find-filters",
      { key: "filters" },
      h("select", { "aria-label": t("search.kind"), value: kind, onchange: again(setKind) }, Object.keys(KINDS).map((name) => h("option", { key: name, value: name }, t(`search.kind.${name}`)))),
      h(
        "select",
        { "aria-label": t("search.who"), value: sender, onchange: again(setSender) },
        h("option", { value: "" }, t("search.who.any")),
        people.sort((a, b) => byName(a.name, b.name)).map(({ user, name }) => h("option", { key: user, value: user }, user === client.me.user ? t("you") : name)),
      ),
      h("label", h("span", t("search.from")), h("input", { type: "date", value: from, max: to || undefined, onchange: again(setFrom) })),
      h("label", h("span", t("search.to")), h("input", { type: "date", value: to, min: from || undefined, onchange: again(setTo) })),
    ),
    h("p.list-hint", { key: "state", role: "status" }, found.error ? t(found.off ? "search.off" : "search.failed", found.error) : found.none ? t("search.nothing") : found.busy && !hits.length ? t("loading") : hits.length || found.cursor ? t("search.count", hits.length, Boolean(found.cursor)) : t("search.how")),
    h(
      "div.found",
      { key: "found", ref: list, role: "listbox", id: "found-list", "aria-label": t("search.messages") },
      hits.map((hit, index) => h(Hit, { key: hit.message.seq, desk, hit, index, selected: index === chosen, go: () => go(hit) })),
    ),
    found.more && h("button.secondary", { key: "more", type: "button", onclick: found.more }, t("show.more")),
  ];
}

function Hit({ desk: { client }, hit: { message, text, marks }, index, selected, go }) {
  const { sender } = message;
  return h(
    "div.found-row",
    { id: `found-${index}`, role: "option", "aria-selected": String(selected), onclick: go },
    h(Avatar, { id: sender, name: nameOf(client, sender), picture: client.user(sender)?.avatar }),
    h(
      "span.list-text",
      h("span.list-top", h("span.list-title", nameOrYou(client, sender)), h("time.list-time", moment(message.time))),
      text ? h(Marked, { text, marks }) : h("span.found-text", summaryOf(client, preview(message))),
    ),
  );
}
