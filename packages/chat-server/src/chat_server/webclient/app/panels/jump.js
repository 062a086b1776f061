/** Ctrl+K: one field for chats, people, messages and what can be done. */
import { useEffect, useState } from "../../vendor/preact.js";
import { mixedUpFound } from "../alike.js";
import { findConversations } from "../desk.js";
import { useFound } from "../list/sidebar.js";
import { nameOrYou, titleOf } from "../people.js";
import { go, open } from "../route.js";
import { Marked, useMessages } from "../search/found.js";
import { Avatar } from "../views/avatar.js";
import { ask, Dialog } from "../views/dialog.js";
import { h, icon } from "../views/h.js";
import { handleAmong } from "../views/named.js";
import { moment, t } from "../words.js";

const CHATS = 8;
const PEOPLE = 6;

/** @param acts `{openUser(user), group(), logout()}` */
export async function jumpDialog(desk, acts) {
  const act = await ask((done) => h(Jump, { desk, acts, done }));
  act?.();
}

function Jump({ desk, acts, done }) {
  const { client } = desk;
  const [text, setText] = useState("");
  const [at, setAt] = useState(0);
  const query = text.trim();
  const found = useFound(client, query);
  const chats = (query ? findConversations(client, query) : client.list()).slice(0, CHATS).map((one) => ({
    key: one.id,
    peer: one.peer?.user,
    label: titleOf(client, one),
    picture: h(Avatar, { id: one.kind === "direct" ? (one.peer?.user ?? one.id) : one.id, name: titleOf(client, one), group: one.kind === "group" }),
    act: () => open(one.id),
  }));
  const mixed = mixedUpFound(client, found);
  const shown = new Set(chats.map(({ peer }) => peer));
  const people = (found ?? []).filter(({ user }) => !shown.has(user)).slice(0, PEOPLE).map((user) => ({
    key: `user ${user.user}`,
    label: user.name,
    detail: handleAmong(mixed, user) || t("search.people"),
    picture: h(Avatar, { id: user.user, name: user.name }),
    act: () => acts.openUser(user),
  }));
  const commands = [
    { key: "group", label: t("new.group"), symbol: "users", act: acts.group },
    { key: "contacts", label: t("contacts"), symbol: "person", act: () => go("contacts") },
    ...["profile", "notifications", "appearance", "devices", "keyboard"].map((page) => ({ key: page, label: `${t("settings")}: ${t(`settings.${page}`)}`, symbol: "settings", act: () => go("settings", page) })),
    { key: "logout", label: t("logout"), symbol: "out", act: acts.logout },
  ].filter(({ label }) => query && label.toLowerCase().includes(query.toLowerCase()));
  const said = useMessages(client, query ? { query, limit: 10 } : undefined);
  const messages = said.hits.map(({ message, text: line, marks }) => {
    const one = client.conversation(message.conversation);
    return {
      key: `message ${message.conversation} ${message.seq}`,
      message: true,
      where: [one && titleOf(client, one), one?.kind !== "direct" && nameOrYou(client, message.sender)].filter(Boolean).join(" · "),
      time: message.time,
      line: h(Marked, { text: line, marks }),
      picture: h(Avatar, { id: one?.peer?.user ?? message.conversation, name: one ? titleOf(client, one) : "", group: one?.kind === "group" }),
      act: () => open(message.conversation, message.seq),
    };
  });
  if (said.more) messages.push({ key: "more", label: t("show.more"), symbol: "down", stays: said.more });
  const items = [...chats, ...people, ...commands, ...messages];
  const first = chats.length + people.length + commands.length;
  const choose = ({ act, stays }) => (stays ? stays() : done(act));
  const chosen = Math.min(at, items.length - 1);
  useEffect(() => document.getElementById(`jump-${chosen}`)?.scrollIntoView({ block: "nearest" }), [chosen, items.length]);
  return h(
    Dialog,
    { title: t("jump"), close: () => done(), kind: ".jump-dialog" },
    h(
      "div.dialog-body",
      h("input", {
        type: "search",
        value: text,
        role: "combobox",
        "aria-expanded": "true",
        "aria-controls": "jump-list",
        "aria-activedescendant": items.length ? `jump-${chosen}` : undefined,
        placeholder: t("jump.hint"),
        "aria-label": t("jump"),
        "data-autofocus": "",
        autocomplete: "off",
        oninput: (event) => {
          setText(event.target.value);
          setAt(0);
        },
        onkeydown: (event) => {
          const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
          if (step && items.length) setAt((chosen + step + items.length) % items.length);
          else if (event.key === "Enter" && items[chosen]) choose(items[chosen]);
          else if (event.key === "Escape") done(); // rather than to empty the field first
          else return;
          event.preventDefault();
        },
      }),
      h(
        "div.jump-list",
        { role: "listbox", id: "jump-list", "aria-label": t("jump") },
        items.map((item, index) => [
          index === first && h("div.list-heading", { key: "messages", role: "presentation" }, t("search.messages")),
          h(
            "div.suggestion",
            { key: item.key, id: `jump-${index}`, role: "option", "aria-selected": String(index === chosen), onclick: () => choose(item) },
            item.picture ?? h("span.jump-icon", icon(item.symbol)),
            item.message ? h("span.list-text", h("span.list-top", h("span.list-title", item.where), h("time.list-time", moment(item.time))), item.line) : h("span.list-title", item.label),
            item.detail && h("span.list-preview", item.detail),
          ),
        ]),
      ),
      query && found && said.none && items.length === 0 && h("p.list-hint", t("search.none.all")),
      query && said.error && !said.off && h("p.list-hint", { role: "status" }, said.error),
    ),
  );
}
