/** The list of conversations, and the search above it. */
import { useEffect, useRef, useState } from "../../vendor/preact.js";
import { mixedUpFound } from "../alike.js";
import { findConversations } from "../desk.js";
import { nameOf, presentMembers, summaryOf, titleOf } from "../people.js";
import { go, open as openConversation } from "../route.js";
import { settings } from "../settings.js";
import { Avatar } from "../views/avatar.js";
import { h, icon, iconButton, useClient, useListener, useSignal } from "../views/h.js";
import { showMenu } from "../views/menu.js";
import { Rows } from "../views/rows.js";
import { named } from "../views/named.js";
import { shortTime, t } from "../words.js";

const HEIGHTS = { normal: 72, compact: 52 };
const FILTERS = ["all", "unread", "mentions", "groups"];
const WATCHED = 150;
/** Above so many conversations the filters are of use. */
const MANY = 5;

function listed(client, open, query, filter) {
  if (query) return findConversations(client, query);
  const all = client.list();
  const one = open && client.conversation(open);
  if (one && !one.hidden && !all.includes(one)) all.unshift(one); // a direct chat without a word yet
  const wanted = { all: () => true, unread: (row) => row.unread > 0 || row.marked_unread, mentions: ({ mentioned }) => mentioned, groups: ({ kind }) => kind === "group" }[filter];
  return all.filter((row) => wanted(row) || row.id === open);
}

function Preview({ desk, one, current }) {
  const { client } = desk;
  if (one.pending) return h("span.typing", t("invitation"));
  const typing = desk.typing(one.id);
  if (typing) return h("span.typing", typing);
  const draft = current ? undefined : desk.drafts.get(one.id);
  if (draft?.text) return [h("span.draft", t("draft")), ` ${draft.text.slice(0, 100)}`];
  const { preview } = one.head;
  if (!preview) return "";
  const text = summaryOf(client, preview);
  if (preview.kind === "system" || preview.kind === "recalled" || one.kind !== "group") return text;
  return `${preview.sender === client.me.user ? t("you") : nameOf(client, preview.sender)}: ${text}`;
}

function Conversation({ desk, one, current, tabindex, open }) {
  const { client } = desk;
  const title = titleOf(client, one);
  const online = one.kind === "direct" && client.online.has(one.peer?.user);
  const menu = (event) => {
    event.preventDefault();
    const button = event.currentTarget;
    const point = event.clientX || event.clientY ? { x: event.clientX, y: event.clientY } : undefined;
    showMenu(button, () => conversationItems(desk, one.id), { point });
  };
  return h(
    "button.list-button",
    { type: "button", tabindex, "aria-current": current ? "true" : undefined, onclick: () => open(one.id), oncontextmenu: menu },
    h(Avatar, { id: one.kind === "direct" ? (one.peer?.user ?? one.id) : one.id, name: title, picture: one.peer?.avatar ?? one.avatar, online, group: one.kind === "group" }),
    h(
      "span.list-text",
      h("span.list-top", h("span.list-title", title), online && h("span.hidden-visually", t("online")), h("time.list-time", one.head.seq ? shortTime(one.head.time) : "")),
      h(
        "span.list-bottom",
        h("span.list-preview", h(Preview, { desk, one, current })),
        h(
          "span.marks",
          one.muted && h("span", { role: "img", "aria-label": t("muted") }, icon("muted")),
          one.mentioned && h("span.at", { role: "img", "aria-label": t("mentioned") }, "@"),
          one.unread > 0 && h("span.unread", { class: one.muted ? "quiet" : "", role: "img", "aria-label": t("unread", one.unread) }, one.unread > 999 ? "999+" : String(one.unread)),
          !one.unread && one.marked_unread && h("span.unread.dot", { role: "img", "aria-label": t("marked.unread") }),
          !one.unread && !one.marked_unread && one.pinned && h("span", { role: "img", "aria-label": t("pinned") }, icon("pin")),
        ),
      ),
    ),
  );
}

/** What can be done with a conversation from the list. */
export function conversationItems(desk, id) {
  const { client } = desk;
  const one = client.conversation(id);
  if (!one) return [];
  const set = (changes) => desk.attempt(() => client.setInbox(id, changes));
  return [
    { label: t(one.pinned ? "unpin" : "pin"), symbol: "pin", act: () => set({ pinned: !one.pinned }) },
    { label: t(one.muted ? "unmute" : "mute"), symbol: "muted", act: () => set({ muted: !one.muted }) },
    one.unread > 0 && { label: t("mark.read"), symbol: "check", act: () => client.read(id, one.head.seq) },
    !one.unread && one.marked_unread && { label: t("mark.read"), symbol: "check", act: () => set({ unread: false }) },
    !one.unread && !one.marked_unread && { label: t("mark.unread"), symbol: "unread", act: () => set({ unread: true }) },
    { label: t("hide"), symbol: "hide", act: () => set({ hidden: true }) },
  ];
}

/** People whom the server finds, asked for when one has stopped typing; `short`: it wants more letters. */
export function useFound(client, query) {
  const [found, setFound] = useState();
  useEffect(() => {
    if (!query) {
      setFound(undefined);
      return undefined;
    }
    let current = true;
    const asked = setTimeout(async () => {
      let users = [];
      let short = false;
      try {
        ({ users } = await client.call("user.search", { query }));
      } catch (error) {
        short = error.code === "invalid"; // the server wants more letters
      }
      if (current) setFound(Object.assign(users.filter(({ user }) => user !== client.me.user), { short }));
    }, 200);
    return () => {
      current = false;
      clearTimeout(asked);
    };
  }, [query]);
  return query ? found : undefined;
}

/** @param props `open`: the id of the open conversation; `acts`: `{openUser(user), menu(event), create(event)}`; `focus`: a ref that gets what focuses the search */
export function Sidebar({ desk, open, acts, focus, requests }) {
  const { client } = desk;
  useClient(client, ["list", "users", "presence", "conversation"], (id, event) => event !== "conversation" || id === open);
  useSignal(desk.typed);
  useSignal(desk.drafts.changed);
  const [text, setText] = useState("");
  const [filter, setFilter] = useState("all");
  const input = useRef();
  const rows = useRef();
  const people = useRef();
  const query = text.trim().toLowerCase();
  const items = listed(client, open, query, filter);
  const found = useFound(client, text.trim());
  const mixed = mixedUpFound(client, found);
  useEffect(() => {
    const present = presentMembers(client.conversation(open)).map(({ user }) => user.user);
    client.watch([...items.slice(0, WATCHED).map(({ peer }) => peer?.user), ...present].filter(Boolean));
  });
  const toSearch = () => {
    input.current.focus();
    input.current.select();
  };
  if (focus) focus.current = toSearch;
  const choose = (act) => {
    setText("");
    act();
  };
  function searchKey(event) {
    if (event.key === "ArrowDown") {
      event.preventDefault();
      if (items.length) rows.current.focus(0);
      else people.current?.querySelector("button")?.focus();
    } else if (event.key === "Enter") {
      if (items.length) choose(() => openConversation(items[0].id));
      else if (found?.length) choose(() => acts.openUser(found[0]));
    } else if (event.key === "Escape" && text) {
      event.stopPropagation();
      setText("");
    }
  }
  function peopleKey(event) {
    const step = { ArrowDown: "nextElementSibling", ArrowUp: "previousElementSibling" }[event.key];
    if (!step) return;
    event.preventDefault();
    event.stopPropagation();
    const next = event.target.closest("button")[step];
    if (next?.matches("button")) next.focus();
    else if (event.key === "ArrowUp") items.length ? rows.current.focus(items.length - 1) : toSearch();
  }
  // A neighbour in the list, by Alt and the arrows from anywhere.
  useListener(globalThis, "keydown", (event) => {
    if (!event.altKey || !["ArrowUp", "ArrowDown"].includes(event.key) || document.querySelector("dialog[open]")) return;
    const all = event.shiftKey ? items.filter(({ unread, id }) => unread > 0 || id === open) : items;
    const at = all.findIndex(({ id }) => id === open);
    const next = all[event.key === "ArrowDown" ? at + 1 : at < 0 ? all.length - 1 : at - 1];
    event.preventDefault();
    if (next) openConversation(next.id);
  });
  const height = HEIGHTS[settings.density];
  const many = client.replica.conversations.size > MANY;
  return h(
    "nav.sidebar",
    { "aria-label": t("chats") },
    h(
      "header.sidebar-head",
      h("button.me", { type: "button", onclick: () => go("settings", "profile"), "aria-label": t("profile.mine") }, h(Avatar, { id: client.me.user, name: client.me.name, picture: client.me.avatar }), h("span.me-name", client.me.name)),
      iconButton("plus", t("menu.new"), acts.create, { "aria-haspopup": "menu" }),
      iconButton("menu", t("menu"), acts.menu, { "aria-haspopup": "menu" }),
    ),
    h(
      "div.search",
      icon("search"),
      h("input.search-input", {
        ref: input,
        type: "search",
        placeholder: t("search"),
        "aria-label": t("search"),
        autocomplete: "off",
        value: text,
        oninput: (event) => {
          setText(event.target.value);
          rows.current.top();
        },
        onkeydown: searchKey,
      }),
    ),
    many &&
      !query &&
      h(
        "div.filters",
        { role: "group", "aria-label": t("filter") },
        FILTERS.map((name) => h("button.filter", { key: name, type: "button", "aria-pressed": String(filter === name), onclick: () => setFilter(name) }, t(`filter.${name}`))),
      ),
    requests > 0 &&
      !query &&
      h("button.requests", { type: "button", onclick: () => go("contacts") }, icon("personplus"), h("span", t("contacts.requests")), h("span.unread", String(requests))),
    h(
      Rows,
      {
        items,
        height,
        label: t("chats"),
        start: open,
        handle: rows,
        over: (by) => (by < 0 ? toSearch() : people.current?.querySelector("button")?.focus()),
        row: (one, { tabindex }) => h(Conversation, { desk, one, tabindex, current: one.id === open, open: (id) => (query ? choose(() => openConversation(id)) : openConversation(id)) }),
      },
      query &&
        h(
          "div.people",
          { ref: people, onkeydown: peopleKey },
          h("h2.list-heading", t("search.people")),
          found?.length === 0 && h("p.list-hint", t(found.short ? "search.short" : "search.none")),
          found?.map((user) =>
            h(
              "button.list-button.person",
              { key: user.user, type: "button", onclick: () => choose(() => acts.openUser(user)) },
              h(Avatar, { id: user.user, name: user.name, picture: user.avatar, online: client.online.has(user.user) }),
              h("span.list-text", named(user, mixed)),
            ),
          ),
        ),
      !query &&
        client.replica.listed &&
        items.length === 0 &&
        (filter === "all"
          ? h("div.list-empty", icon("chat"), h("p", t("chats.none")), h("p.list-hint", t("chats.none.hint")), h("button.primary", { type: "button", onclick: toSearch }, t("chats.none.do")))
          : h("div.list-empty", icon("chat"), h("p", t("filter.none")), h("button.secondary", { type: "button", onclick: () => setFilter("all") }, t("filter.all")))),
    ),
  );
}
