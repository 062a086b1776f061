/** One's contacts: requests on top, then everybody by name; in Chinese by pinyin. */
import { useState } from "../../vendor/preact.js";
import { mixedUp } from "../alike.js";
import { leavePage, open } from "../route.js";
import { matches } from "../text/mentions.js";
import { Avatar } from "../views/avatar.js";
import { Dialog } from "../views/dialog.js";
import { h, icon, useClient } from "../views/h.js";
import { named } from "../views/named.js";
import { byName, t } from "../words.js";
import { useContacts } from "./profile.js";

export function Contacts({ desk }) {
  const { client } = desk;
  useClient(client, ["presence"]);
  const { contacts, error, load } = useContacts(client);
  const [query, setQuery] = useState("");
  const all = [...(contacts?.values() ?? [])];
  const requests = all.filter(({ state, asked_by: by, user }) => state === "asked" && by === user.user);
  const friends = all
    .filter(({ state, user }) => state === "friends" && matches(user.name, query.trim()))
    .sort((a, b) => byName(a.user.name, b.user.name));
  const mixed = mixedUp([...all.map(({ user }) => user), client.me]);
  const answer = (command, user) => desk.attempt(() => client.call(command, { user })).then(load);
  const write = async (user) => {
    const opened = await desk.attempt(() => client.openDirect(user));
    if (opened) open(opened.id);
  };
  return h(
    Dialog,
    { title: t("contacts"), close: leavePage, kind: ".wide" },
    h(
      "div.dialog-body",
      error && h("div.list-error", h("p", error), h("button.secondary", { type: "button", onclick: load }, t("retry"))),
      requests.length > 0 && h("h3.list-heading", t("contacts.requests")),
      requests.map(({ user, text }) =>
        h(
          "div.member",
          { key: user.user },
          h(Avatar, { id: user.user, name: user.name }),
          h("span.list-text", named(user, mixed), text && h("span.list-preview", text)),
          h("button.primary", { type: "button", onclick: () => answer("contact.accept", user.user) }, t("contact.accept")),
          h("button.secondary", { type: "button", onclick: () => answer("contact.reject", user.user) }, t("contact.reject")),
        ),
      ),
      all.length > 0 && h("input", { type: "search", value: query, placeholder: t("members.find"), "aria-label": t("members.find"), oninput: (event) => setQuery(event.target.value) }),
      h(
        "ul.members",
        friends.map(({ user }) =>
          h(
            "li",
            { key: user.user },
            h("button.list-button.person", { type: "button", onclick: () => write(user.user) }, h(Avatar, { id: user.user, name: user.name, online: client.online.has(user.user) }), h("span.list-text", named(user, mixed))),
          ),
        ),
      ),
      contacts && all.length === 0 && h("div.empty", icon("users"), h("p", t("contacts.none")), h("p.list-hint", t("contacts.none.hint"))),
    ),
  );
}
