/** Settings: one page at a time, every change at once. */
import { useEffect, useRef, useState } from "../../vendor/preact.js";
import { go, leavePage } from "../route.js";
import { changed, CHOICES, settings } from "../settings.js";
import { SHORTCUTS } from "../shortcuts.js";
import { Avatar } from "../views/avatar.js";
import { confirmDialog, Dialog } from "../views/dialog.js";
import { h, icon, iconButton, useClient, useSignal } from "../views/h.js";
import { errorText, moment, speak, t } from "../words.js";
import { mayNotify, askToNotify } from "../notify.js";
import { keepPushed, needsHomeScreen } from "../push.js";
import { useContacts } from "./profile.js";

const PAGES = { profile: "person", notifications: "bell", appearance: "theme", chat: "chat", devices: "device", privacy: "block", keyboard: "keyboard", about: "info" };

export function Settings({ desk, page, logout }) {
  useSignal(changed);
  const shown = page in PAGES ? page : undefined;
  const View = { profile: Profile, notifications: Notifications, appearance: Appearance, chat: Chat, devices: Devices, privacy: Privacy, keyboard: Keyboard, about: About }[shown ?? "profile"];
  return h(
    Dialog,
    { title: t("settings"), close: leavePage, kind: ".settings" },
    h(
      "div.settings-body",
      { class: shown ? "chosen" : "" },
      h(
        "nav.settings-pages",
        { "aria-label": t("settings") },
        Object.entries(PAGES).map(([name, symbol]) =>
          h("button.settings-page", { key: name, type: "button", "aria-current": (shown ?? "profile") === name ? "page" : undefined, onclick: () => go("settings", name) }, icon(symbol), h("span", t(`settings.${name}`))),
        ),
        h("button.settings-page.danger", { type: "button", onclick: logout }, icon("out"), h("span", t("logout"))),
      ),
      h(
        "section.settings-view",
        { "aria-label": t(`settings.${shown ?? "profile"}`), tabindex: 0 },
        h("div.settings-title", iconButton("back", t("back.settings"), () => go("settings"), { class: "icon-button settings-back" }), h("h3", t(`settings.${shown ?? "profile"}`))),
        h(View, { desk }),
      ),
    ),
  );
}

/** One choice of several. */
function Choice({ name, after }) {
  return h(
    "fieldset.choice",
    h("legend", t(`choice.${name}`)),
    CHOICES[name].map((value) =>
      h(
        "label",
        { key: value },
        h("input", {
          type: "radio",
          name,
          checked: settings[name] === value,
          onchange: () => {
            settings[name] = value;
            after?.();
          },
        }),
        h("span", t(`choice.${name}.${value}`)),
      ),
    ),
  );
}

function Profile({ desk }) {
  const { client } = desk;
  useClient(client, ["users"]);
  const [name, setName] = useState(client.me.name);
  const [{ error, done }, setState] = useState({});
  const chooser = useRef();
  const wear = async ({ target }) => {
    const [file] = target.files;
    target.value = "";
    if (!file) return;
    try {
      await client.wear(await square(file));
      setState({ done: t("saved") });
    } catch (problem) {
      setState({ error: problem.code ? errorText(problem) : t("file.damaged.picture") });
    }
  };
  const save = async (event) => {
    event.preventDefault();
    try {
      await client.rename(name.trim());
      setState({ done: t("saved") });
    } catch (problem) {
      setState({ error: errorText(problem) });
    }
  };
  return h(
    "form.settings-form",
    { onsubmit: save },
    h(Avatar, { id: client.me.user, name: client.me.name, picture: client.me.avatar, size: "large" }),
    h("button.detail-button", { type: "button", onclick: () => chooser.current.click() }, icon("picture"), h("span", t("picture.choose"))),
    h("input", { ref: chooser, type: "file", accept: "image/png,image/jpeg,image/webp", hidden: true, "aria-label": t("picture.choose"), onchange: wear }),
    h("label", t("login.name"), h("input", { type: "text", value: name, maxlength: 64, oninput: (event) => setName(event.target.value) })),
    client.me.handle && h("p.list-hint", t("handle.yours"), " ", h("bdi.handle", `@${client.me.handle}`)),
    h("p.form-error", { role: "alert" }, error),
    h("p.list-hint", { role: "status" }, done),
    h("div.dialog-buttons", h("button.primary", { type: "submit", disabled: !name.trim() || name.trim() === client.me.name }, t("save"))),
  );
}

const SIDE = 512;

/** The middle of a picture, square. */
async function square(file) {
  const picture = await createImageBitmap(file);
  const side = Math.min(picture.width, picture.height);
  const canvas = Object.assign(document.createElement("canvas"), { width: SIDE, height: SIDE });
  const [left, top] = [(picture.width - side) / 2, (picture.height - side) / 2];
  canvas.getContext("2d").drawImage(picture, left, top, side, side, 0, 0, SIDE, SIDE);
  picture.close();
  const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.88));
  return new File([blob], "profile.jpg", { type: "image/jpeg" });
}

function Notifications({ desk }) {
  const [state, setState] = useState(mayNotify());
  const { client } = desk;
  const keep = () => desk.attempt(() => keepPushed(client));
  const hint = needsHomeScreen() ? "notify.home" : { granted: "notify.granted", denied: "notify.denied", default: "notify.default", unsupported: "notify.unsupported" }[state];
  return h(
    "div.settings-form",
    h("p", t(hint)),
    state === "default" && h("button.primary", { type: "button", onclick: () => askToNotify().then((answer) => (setState(answer), keep())) }, t("notify.ask")),
    state === "granted" && h("button.secondary", { type: "button", onclick: () => desk.notifyTest() }, t("notify.test")),
    h(Choice, { name: "notify" }),
    state === "granted" && h(Choice, { name: "push", after: keep }),
    h(Choice, { name: "sound" }),
  );
}

const Appearance = () => h("div.settings-form", ["theme", "language", "size", "density", "layout", "motion"].map((name) => h(Choice, { key: name, name, after: name === "language" ? speak : undefined })));
const Chat = () => h("div.settings-form", ["enter", "opening"].map((name) => h(Choice, { key: name, name })));

function Devices({ desk }) {
  const { client } = desk;
  const [{ devices, error }, setState] = useState({});
  const load = () =>
    client.call("auth.devices").then(
      (answer) => setState({ devices: answer.devices }),
      (problem) => setState({ error: errorText(problem) }),
    );
  useEffect(() => {
    load();
    return client.on("push", ({ event }) => event === "device" && load());
  }, []);
  const kick = async (params, question) => {
    if (!(await confirmDialog(question, t("device.end"), { danger: true }))) return;
    await desk.attempt(() => client.call("auth.kick", params));
    load();
  };
  if (error) return h("div.list-error", h("p", error), h("button.secondary", { type: "button", onclick: load }, t("retry")));
  const shown = [...(devices ?? [])].sort((a, b) => Number(b.current) - Number(a.current) || (b.seen_at ?? 0) - (a.seen_at ?? 0));
  return h(
    "div.settings-form",
    h(
      "ul.members",
      shown.map(({ login, device, name, platform, online, current, address, seen_at: seen }) =>
        h(
          "li.member",
          { key: login ?? device },
          icon("device"),
          h("span.list-text", h("span.list-title", name || platform), h("span.list-preview", [current ? t("device.this") : online ? t("online") : seen ? t("device.seen", moment(seen)) : "", address].filter(Boolean).join(" · "))),
          !current && h("button.secondary", { type: "button", "aria-label": `${t("device.end")}: ${name || platform}`, onclick: () => kick(login ? { login } : { device }, t("device.end.ask", name || platform)) }, t("device.end")),
        ),
      ),
    ),
    shown.length > 1 && h("button.detail-button.danger", { type: "button", onclick: () => kick({ all: true }, t("device.end.all.ask")) }, icon("out"), h("span", t("device.end.all"))),
  );
}

function Privacy({ desk }) {
  const { client } = desk;
  const { contacts, error, load } = useContacts(client);
  const blocked = [...(contacts?.values() ?? [])].filter((one) => one.blocked);
  return h(
    "div.settings-form",
    h("h4", t("blocked")),
    error && h("p.form-error", { role: "alert" }, error),
    contacts && blocked.length === 0 && h("p.list-hint", t("blocked.none")),
    h(
      "ul.members",
      blocked.map(({ user }) =>
        h(
          "li.member",
          { key: user.user },
          h(Avatar, { id: user.user, name: user.name }),
          h("span.list-text", h("span.list-title", user.name)),
          h("button.secondary", { type: "button", onclick: () => desk.attempt(() => client.call("contact.block", { user: user.user, on: false })).then(load) }, t("unblock")),
        ),
      ),
    ),
  );
}

export function Keyboard() {
  return h(
    "table.shortcuts",
    h(
      "tbody",
      SHORTCUTS.map(({ keys, does }) => h("tr", { key: does }, h("td", keys.map((key) => h("kbd", { key }, key))), h("td", t(`key.${does}`)))),
    ),
  );
}

function About({ desk }) {
  return h("div.settings-form", h("p", t("about")), h("p.list-hint", t("about.node", desk.client.node ?? "–")));
}
