/** A search for people with a list to tick. */
import { useRef, useState } from "../../vendor/preact.js";
import { mixedUp } from "../alike.js";
import { Avatar } from "../views/avatar.js";
import { h, icon } from "../views/h.js";
import { handleAmong, named } from "../views/named.js";
import { t } from "../words.js";
import { useFound } from "../list/sidebar.js";

const KNOWN = 20;

/** @param props `chosen`: Map of user id → User; `change(chosen)`; `without`: ids that are not offered */
export function PeoplePicker({ client, chosen, change, without = new Set() }) {
  const [text, setText] = useState("");
  const input = useRef();
  const query = text.trim();
  const found = useFound(client, query);
  // People one talks with already, whatever the server's search makes of the letters.
  const near = client
    .list()
    .map(({ peer }) => peer)
    .filter((peer) => peer?.name.toLowerCase().includes(query.toLowerCase()))
    .slice(0, KNOWN);
  const ids = new Set(near.map(({ user }) => user));
  const offered = [...near, ...(found ?? []).filter(({ user }) => !ids.has(user))].filter(({ user }) => user !== client.me.user && !without.has(user));
  const mixed = mixedUp([...offered, ...chosen.values(), client.me]);
  const toggle = (user) => {
    const after = new Map(chosen);
    if (!after.delete(user.user)) after.set(user.user, user);
    setText("");
    change(after);
    input.current.focus();
  };
  return h(
    "div.picker",
    h(
      "div.chips",
      [...chosen.values()].map((one) => h("button.chip", { key: one.user, type: "button", "aria-label": t("remove", one.name), onclick: () => toggle(one) }, h("span", one.name, " ", handleAmong(mixed, one)), icon("close"))),
    ),
    h("input", {
      ref: input,
      type: "search",
      value: text,
      placeholder: t("group.pick"),
      "aria-label": t("group.pick"),
      autocomplete: "off",
      oninput: (event) => setText(event.target.value),
      onkeydown: (event) => {
        if (event.key !== "Enter") return;
        event.preventDefault();
        if (query && offered[0]) toggle(offered[0]);
      },
    }),
    h(
      "div.picker-results",
      offered.map((user) =>
        h(
          "button.list-button.person",
          { key: user.user, type: "button", "aria-pressed": String(chosen.has(user.user)), onclick: () => toggle(user) },
          h(Avatar, { id: user.user, name: user.name }),
          h("span.list-text", named(user, mixed)),
          chosen.has(user.user) && icon("check"),
        ),
      ),
      query && found && offered.length === 0 && h("p.list-hint", t(found.short ? "search.short" : "search.none")),
    ),
  );
}
