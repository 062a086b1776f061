/** What is asked about one message: to whom it goes on, who has read it. */
import { useEffect, useState } from "../../vendor/preact.js";
import { findConversations } from "../desk.js";
import { nameOf, titleOf } from "../people.js";
import { open } from "../route.js";
import { Avatar } from "../views/avatar.js";
import { ask, Dialog } from "../views/dialog.js";
import { h, useClient } from "../views/h.js";
import { errorText, t } from "../words.js";

const OFFERED = 30;

/** Sends the body once more, to a conversation that is chosen. */
export async function forwardDialog(desk, message) {
  const to = await ask((done) => h(Choose, { desk, done }));
  if (!to) return;
  const { entities: _, ...body } = message.body; // whom it named there may not be here
  desk.client.send(to, message.kind, body);
  desk.say(t("forwarded"), { label: t("open"), act: () => open(to) });
}

function Choose({ desk, done }) {
  const [query, setQuery] = useState("");
  const found = findConversations(desk.client, query.trim()).filter(({ left, hidden }) => !left && (query.trim() || !hidden));
  return h(
    Dialog,
    { title: t("forward.to"), close: () => done() },
    h(
      "div.dialog-body",
      h("input", {
        type: "search",
        value: query,
        placeholder: t("search.chats"),
        "aria-label": t("search.chats"),
        "data-autofocus": "",
        oninput: (event) => setQuery(event.target.value),
        onkeydown: (event) => event.key === "Enter" && found[0] && done(found[0].id),
      }),
      h(
        "div.picker-results",
        found.slice(0, OFFERED).map((one) =>
          h(
            "button.list-button.person",
            { key: one.id, type: "button", onclick: () => done(one.id) },
            h(Avatar, { id: one.kind === "direct" ? (one.peer?.user ?? one.id) : one.id, name: titleOf(desk.client, one), group: one.kind === "group" }),
            h("span.list-text", h("span.list-title", titleOf(desk.client, one))),
          ),
        ),
        found.length === 0 && h("p.list-hint", t("search.none")),
      ),
    ),
  );
}

export function readersDialog(desk, message) {
  return ask((done) => h(Readers, { desk, message, done }));
}

function Readers({ desk, message, done }) {
  const { client } = desk;
  useClient(client, ["users"]);
  const [state, setState] = useState({ users: [] });
  const load = async (cursor) => {
    try {
      const page = await client.call("message.readers", { conversation: message.conversation, seq: message.seq, cursor });
      setState((before) => ({ users: [...before.users, ...page.users], count: page.count, cursor: page.cursor }));
    } catch (error) {
      setState((before) => ({ ...before, error: errorText(error) }));
    }
  };
  useEffect(() => {
    load();
  }, []);
  const { users, count, cursor, error } = state;
  return h(
    Dialog,
    { title: t("readers"), close: done },
    h(
      "div.dialog-body",
      error && h("p.form-error", { role: "alert" }, error),
      count === 0 && h("p.list-hint", t("readers.none")),
      h(
        "ul.members",
        users.map((id) => h("li.member", { key: id }, h(Avatar, { id, name: nameOf(client, id) }), h("span.list-text", h("span.list-title", nameOf(client, id))))),
      ),
      cursor && h("button.secondary", { type: "button", onclick: () => load(cursor) }, t("show.more")),
    ),
  );
}
