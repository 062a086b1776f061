/** The page of somebody who is logged in: a list of conversations beside the open one, and what lies over them. */
import { useEffect, useRef, useState } from "../vendor/preact.js";
import { day } from "./clock.js";
import { Sidebar } from "./list/sidebar.js";
import { askToNotify, count, mayNotify, notifyFor } from "./notify.js";
import { Contacts } from "./panels/contacts.js";
import { groupDialog } from "./panels/groups.js";
import { Info } from "./panels/info.js";
import { jumpDialog } from "./panels/jump.js";
import { profileDialog, useContacts } from "./panels/profile.js";
import { SearchPanel } from "./search/panel.js";
import { Keyboard, Settings } from "./panels/settings.js";
import { keepPushed } from "./push.js";
import { go, open as openConversation, route } from "./route.js";
import { changed, settings } from "./settings.js";
import { Invitation } from "./thread/invitation.js";
import { Thread } from "./thread/thread.js";
import { ask, Dialog, promptDialog } from "./views/dialog.js";
import { h, icon, useAgain, useClient, useListener, useSignal } from "./views/h.js";
import { showMenu } from "./views/menu.js";
import { Toasts } from "./views/toast.js";
import { language, t } from "./words.js";

/** A loss is told when it lasts, not at every blink; and its end for a moment. */
const LOSS = 700;
const BACK = 2000;
const WIDE = matchMedia("(min-width: 720px)");

export function App({ desk, logout }) {
  const { client } = desk;
  useSignal(language);
  useSignal(day);
  useSignal(changed);
  const { conversation: id, seq, page, sub } = useSignal(route);
  const panel = useSignal(desk.panel);
  const again = useAgain();
  useClient(client, ["list", "reset"]);
  const toSearch = useRef();
  const wide = useMedia(WIDE);
  const { contacts } = useContacts(client);
  const requests = [...(contacts?.values() ?? [])].filter(({ state, asked_by: by, user }) => state === "asked" && by === user.user).length;

  useEffect(() => {
    notifyFor(desk);
    keepPushed(client).catch(() => {}); // a push service may be out of reach; the next start tries again
    desk.profile = (user) => profileDialog(desk, user);
  }, [desk]);
  const one = id && client.conversation(id);
  // What is no more: back to the list. What is not known yet is opened as soon as the list has it.
  useEffect(() => {
    // Effects run later than the drawing: both are read now, else a list that has come meanwhile closes what it brought.
    if (id && !client.conversation(id) && client.replica.listed) openConversation(undefined);
    if (one?.hidden) client.setInbox(id, { hidden: false }).catch(() => {});
  }, [id, Boolean(one), client.replica.listed]);
  useEffect(() => {
    if (!id) desk.panel.value = false;
  }, [id]);
  const unread = client.list().reduce((sum, row) => sum + (row.muted ? 0 : row.unread), 0);
  useEffect(() => count(unread), [unread, language.peek()]);
  useListener(globalThis, "beforeunload", (event) => client.fleeting && event.preventDefault()); // the browser asks whether to leave

  const back = () => {
    openConversation(undefined);
    toSearch.current?.();
  };
  const openUser = async (user) => {
    const opened = await desk.attempt(() => client.openDirect(user.user));
    if (opened) openConversation(opened.id);
  };
  const newGroup = async () => {
    const made = await groupDialog(desk);
    if (made) openConversation(made);
  };
  const acts = {
    openUser,
    menu: ({ currentTarget }) =>
      showMenu(currentTarget, [
        { label: t("contacts"), symbol: "person", act: () => go("contacts") },
        { label: t("settings"), symbol: "settings", act: () => go("settings") },
        { label: t("shortcuts"), symbol: "keyboard", act: () => helpDialog(desk) },
        { label: t("logout"), symbol: "out", danger: true, act: logout },
      ]),
    create: ({ currentTarget }) =>
      showMenu(currentTarget, [
        { label: t("new.direct"), symbol: "chat", act: () => toSearch.current() },
        { label: t("new.group"), symbol: "users", act: newGroup },
        { label: t("join"), symbol: "link", act: () => joinDialog(desk) },
      ]),
  };
  useListener(globalThis, "keydown", (event) => {
    const ctrl = event.ctrlKey || event.metaKey;
    const typing = event.target.matches?.("input, textarea, select");
    const dialog = document.querySelector("dialog[open]");
    const act =
      (ctrl && { k: () => jumpDialog(desk, { openUser, group: newGroup, logout }), ",": () => go("settings"), "/": () => helpDialog(desk) }[event.key]) ||
      (!ctrl && event.key === "?" && !typing ? () => helpDialog(desk) : undefined) ||
      (event.key === "F6" && ctrl ? () => nextRegion(event.shiftKey) : undefined);
    if (!act || dialog) return;
    event.preventDefault();
    act();
  });

  const sheet = !wide;
  const Panel = { info: Info, search: SearchPanel }[panel];
  const info = one && !one.pending && Panel && h(Panel, { key: `${panel} ${id}`, desk, id, sheet, close: () => (desk.panel.value = false) });
  return [
    h(Banner, { client }),
    h(
      "div.columns",
      { class: [one && "open", info && !sheet && "with-panel"].filter(Boolean).join(" ") },
      h(Sidebar, { desk, open: one ? id : undefined, acts, focus: toSearch, requests }),
      h("main.main", { "aria-label": t("chat") }, one?.pending ? h(Invitation, { key: `ask ${id}`, desk, one, back }) : one ? h(Thread, { key: id, desk, id, seq, back, panel: desk.panel, friend: contacts?.get(one.peer?.user)?.state === "friends" }) : h(Nothing, { desk, toSearch, newGroup, again })),
      info,
    ),
    page === "settings" && h(Settings, { desk, page: sub, logout }),
    page === "contacts" && h(Contacts, { desk }),
    h(Toasts),
  ];
}

function useMedia(query) {
  const again = useAgain();
  useListener(query, "change", again);
  return query.matches;
}

/** What stands where no conversation is open: the first steps, each of which can be put away. */
function Nothing({ desk, toSearch, newGroup, again }) {
  const { client } = desk;
  const fresh = client.replica.listed && client.list().length === 0;
  const cards = [
    { name: "profile", symbol: "person", act: () => go("settings", "profile"), shown: fresh },
    { name: "find", symbol: "search", act: () => toSearch.current(), shown: fresh },
    { name: "group", symbol: "users", act: newGroup, shown: fresh },
    { name: "notify", symbol: "bell", act: () => askToNotify().then(again).then(() => keepPushed(client)).catch(() => {}), shown: mayNotify() === "default" && client.list().length > 0 },
  ].filter(({ name, shown }) => shown && !settings.dismissed.includes(name));
  return h(
    "div.nothing",
    icon("chat"),
    h("p", t("chat.none")),
    h("p.list-hint", t("chat.none.hint")),
    cards.length > 0 &&
      h(
        "ul.first-steps",
        cards.map(({ name, symbol, act }) =>
          h(
            "li.first-step",
            { key: name },
            icon(symbol),
            h("span.list-text", h("span.list-title", t(`first.${name}`)), h("span.first-hint", t(`first.${name}.hint`))),
            h("button.primary", { type: "button", onclick: act }, t(`first.${name}.do`)),
            h("button.link", { type: "button", onclick: () => settings.dismiss(name) }, t("later")),
          ),
        ),
      ),
  );
}

function Banner({ client }) {
  const [shown, show] = useState();
  useClient(client, ["state"]);
  const { state } = client;
  const lost = useRef(false);
  useEffect(() => {
    if (state === "live") {
      if (lost.current) show("back");
      lost.current = false;
      // Whatever is shown: a short loss while it said "back" took the timer away that would have hidden it.
      const timer = setTimeout(() => show(undefined), BACK);
      return () => clearTimeout(timer);
    }
    if (lost.current) return undefined;
    const timer = setTimeout(() => {
      lost.current = true;
      show("lost");
    }, LOSS);
    return () => clearTimeout(timer);
  }, [state === "live"]);
  if (!shown) return h("div.banner", { role: "status", hidden: true });
  if (shown === "back") return h("div.banner.is-back", { role: "status" }, t("net.back"));
  return h(
    "div.banner",
    { role: "status" },
    h("span", navigator.onLine ? t("net.reconnecting") : t("net.offline")),
    state === "waiting" && h("button.link", { type: "button", onclick: () => client.reconnect() }, t("net.now")),
  );
}

const helpDialog = (desk) => ask((done) => h(Dialog, { title: t("shortcuts"), close: done, kind: ".wide" }, h("div.dialog-body", { tabindex: 0 }, h(Keyboard, { desk }))));

async function joinDialog(desk) {
  const link = await promptDialog(t("join"), t("group.link"), "", t("join.do"));
  if (!link) return;
  const row = await desk.attempt(() => desk.client.call("group.join", { link: link.split("/").at(-1) }));
  if (row?.conversation) openConversation(row.conversation);
  else if (row?.pending) desk.say(t("join.pending"));
}

/** From one region of the page to the next: list, conversation, panel. */
function nextRegion(back) {
  const regions = [".search-input", ".composer-input", ".panel button"].map((where) => document.querySelector(where)).filter(Boolean);
  const areas = regions.map((one) => one.closest("nav, main, aside"));
  const at = areas.findIndex((area) => area?.contains(document.activeElement));
  regions.at((at + (back ? -1 : 1) + regions.length) % regions.length)?.focus();
}
