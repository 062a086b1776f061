/** Somebody's card: who that is, and what one may do. */
import { useEffect, useState } from "../../vendor/preact.js";
import { nameOf } from "../people.js";
import { open } from "../route.js";
import { Avatar } from "../views/avatar.js";
import { ask, confirmDialog, Dialog, promptDialog } from "../views/dialog.js";
import { h, icon, useClient } from "../views/h.js";
import { errorText, t } from "../words.js";

export function profileDialog(desk, user) {
  return ask((done) => h(Profile, { desk, user, done }));
}

/** One's contacts, all of them, kept up while the view is there; by user id. */
export function useContacts(client) {
  const [contacts, setContacts] = useState();
  const [error, setError] = useState();
  const load = async () => {
    const all = new Map();
    try {
      let cursor;
      do {
        const page = await client.call("contact.list", { cursor, limit: 100 });
        for (const one of page.contacts) all.set(one.user.user, one);
        ({ cursor } = page);
      } while (cursor !== undefined);
      setContacts(all);
      setError(undefined);
    } catch (problem) {
      setError(errorText(problem));
    }
  };
  useEffect(() => {
    load();
    const stops = [client.on("push", ({ event }) => event === "contact" && load()), client.on("reset", load)];
    return () => stops.forEach((stop) => stop());
  }, [client]);
  return { contacts, error, load };
}

function Profile({ desk, user, done }) {
  const { client } = desk;
  useClient(client, ["users", "presence"]);
  const { contacts, load } = useContacts(client);
  const [error, setError] = useState("");
  const me = user === client.me.user;
  const name = nameOf(client, user);
  const contact = contacts?.get(user);
  const attempt = async (act) => {
    setError("");
    try {
      await act();
      await load();
    } catch (problem) {
      setError(errorText(problem));
    }
  };
  const call = (command, params) => attempt(() => client.call(command, { user, ...params }));
  const write = async () => {
    const opened = await desk.attempt(() => client.openDirect(user));
    if (!opened) return;
    done();
    open(opened.id);
  };
  const request = async () => {
    const text = await promptDialog(t("contact.request"), t("contact.text"), t("contact.hello", client.me.name), t("send"), { maxlength: 200 });
    if (text) await call("contact.request", { text });
  };
  const block = async () => (await confirmDialog(t("block.ask", name), t("block"), { danger: true })) && call("contact.block", { on: true });
  const button = (symbol, label, onclick, danger) => h("button.detail-button", { key: label, type: "button", class: danger ? "danger" : "", onclick }, icon(symbol), h("span", label));
  const asks = contact?.state === "asked" && contact.asked_by === user;
  return h(
    Dialog,
    { title: t("profile"), close: () => done(), kind: ".profile" },
    h(
      "div.dialog-body.details",
      h("div.details-top", h(Avatar, { id: user, name, picture: client.user(user)?.avatar, size: "large", online: client.online.has(user) }), h("h3", name),
        client.user(user)?.handle && h("p.list-hint", h("bdi.handle", `@${client.user(user).handle}`)), client.online.has(user) && h("p.list-hint", t("online"))),
      h("p.form-error", { role: "alert" }, error),
      !me &&
        h(
          "div.detail-buttons",
          button("chat", t("profile.write"), write),
          contacts && !contact?.blocked && (contact?.state ?? "none") === "none" && button("personplus", t("contact.add"), request),
          contact?.state === "asked" && !asks && h("span.list-hint", t("contact.asked")),
          asks && button("check", t("contact.accept"), () => call("contact.accept")),
          asks && button("close", t("contact.reject"), () => call("contact.reject")),
          contact?.state === "friends" && button("trash", t("contact.remove"), () => call("contact.remove")),
          contacts && (contact?.blocked ? button("block", t("unblock"), () => call("contact.block", { on: false })) : button("block", t("block"), block, true)),
        ),
    ),
  );
}
