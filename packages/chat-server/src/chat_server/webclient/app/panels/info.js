/** A conversation's people and switches, beside it or over it; follows what changes while it is open. */
import { useEffect, useRef, useState } from "../../vendor/preact.js";
import { mixedUp } from "../alike.js";
import { isLarger, useMembers } from "../members.js";
import { presentMembers, titleOf } from "../people.js";
import { open } from "../route.js";
import { Avatar } from "../views/avatar.js";
import { confirmDialog, Dialog, promptDialog } from "../views/dialog.js";
import { h, icon, iconButton, useClient } from "../views/h.js";
import { showMenu } from "../views/menu.js";
import { named } from "../views/named.js";
import { byName, errorText, t } from "../words.js";
import { inviteDialog } from "./groups.js";
import { SHARED, Shared } from "./shared.js";

const RANK = { owner: 0, admin: 1, member: 2 };
const SHOWN = 100;
/** From so many people on, a name can be looked for. */
const MANY = 20;
const FOREVER = 2 ** 50;
const HOUR = 3_600_000;

/** @param props `sheet`: as a dialog over the page, where there is no room beside */
export function Info({ desk, id, sheet, close }) {
  const title = t("info");
  if (sheet) return h(Dialog, { title, kind: ".sheet", close }, h("div.dialog-body.details", h(Details, { desk, id, sheet, close })));
  return h(
    "aside.panel",
    { "aria-label": title },
    h("header.panel-head", h("h2", title), iconButton("close", t("close"), close)),
    h("div.panel-body.details", h(Details, { desk, id, close })),
  );
}

function Details({ desk, id, sheet, close }) {
  const { client } = desk;
  useClient(client, ["conversation", "presence", "users", "list"], (changed, event) => event !== "conversation" || changed === id);
  const [error, setError] = useState("");
  const [query, setQuery] = useState("");
  const [whole, setWhole] = useState(false);
  const [tab, setTab] = useState("members");
  const one = client.conversation(id);
  useEffect(() => {
    client.loadMembers(id);
  }, [id]);
  const members = useMembers(client, one, query.trim());
  if (!one) return null;
  const attempt = async (act) => {
    setError("");
    try {
      return await act();
    } catch (problem) {
      setError(errorText(problem));
      return undefined;
    }
  };
  const call = (command, params) => attempt(() => client.call(command, { conversation: id, ...params }));
  const asked = async (question, yes, act) => (await confirmDialog(question, yes, { danger: true })) && act();
  const group = one.kind === "group";
  const inside = group && !one.left;
  const manages = inside && ["owner", "admin"].includes(one.role);
  const present = presentMembers(one);
  const found = members.sort((a, b) => RANK[a.role] - RANK[b.role] || byName(a.user.name, b.user.name));
  const mixed = mixedUp([...present, ...found].map(({ user }) => client.user(user.user) ?? user));
  const rename = async () => {
    const name = await promptDialog(t("group.rename"), t("group.name"), one.name, t("save"));
    if (name && name !== one.name) await attempt(() => client.updateGroup(id, { name }));
  };
  const announce = async () => {
    const announcement = await promptDialog(t("announcement"), t("announcement"), one.announcement ?? "", t("save"), { maxlength: 4096, rows: 6 });
    if (announcement) await attempt(() => client.updateGroup(id, { announcement }));
  };
  const hide = async () => {
    await attempt(() => client.setInbox(id, { hidden: true }));
    if (!client.conversation(id)?.hidden) return;
    close();
    open(undefined);
  };
  const goTo = (seq) => {
    open(id, seq);
    if (sheet) close();
  };
  const button = (symbol, label, onclick, danger) => h("button.detail-button", { key: label, type: "button", class: danger ? "danger" : "", onclick }, icon(symbol), h("span", label));
  const silenced = (one.silencedUntil ?? 0) > client.serverNow();
  const direct = !group && one.peer;
  return [
    h(
      "div.details-top",
      h(Avatar, { id: direct ? one.peer.user : id, name: titleOf(client, one), picture: direct ? one.peer.avatar : one.avatar, group, size: "large", online: Boolean(direct && client.online.has(one.peer.user)) }),
      h("h3", titleOf(client, one)),
      one.announcement && h("p.announcement", one.announcement),
    ),
    h(
      "div.detail-buttons",
      button("muted", t(one.muted ? "unmute" : "mute"), () => attempt(() => client.setInbox(id, { muted: !one.muted }))),
      button("pin", t(one.pinned ? "unpin" : "pin"), () => attempt(() => client.setInbox(id, { pinned: !one.pinned }))),
      direct && button("person", t("profile"), () => desk.profile(one.peer.user)),
      inside && button("plus", t("group.invite"), () => inviteDialog(desk, id)),
      manages && button("edit", t("group.rename"), rename),
      manages && button("megaphone", t("announcement"), announce),
    ),
    h("p.form-error", { role: "alert" }, error),
    manages && h(JoinLink, { client, id, attempt }),
    manages &&
      h(
        "label.switch-line",
        h("span", t("group.silence")),
        h("input", { type: "checkbox", role: "switch", checked: silenced, onchange: () => call("group.mute", { until: silenced ? 0 : FOREVER }) }),
      ),
    !one.pending &&
      h(
        "div.tabs",
        { role: "tablist", "aria-label": t("shared") },
        [...(inside ? ["members"] : []), ...SHARED].map((name) =>
          h("button.tab", { key: name, type: "button", role: "tab", "aria-selected": String(tab === name), onclick: () => setTab(name) }, t(`shared.${name}`)),
        ),
      ),
    SHARED.includes(tab) &&
      h("div.shared", { key: tab, role: "tabpanel", "aria-label": t(`shared.${tab}`) }, h(Shared, { desk, id, what: tab, go: (seq) => goTo(seq) })),
    tab === "members" && inside && [
      h("h3.list-heading", { key: "heading" }, t("members", one.count ?? present.length)),
      present.length >= MANY && h("input", { key: "filter", type: "search", value: query, placeholder: t("members.find"), "aria-label": t("members.find"), oninput: (event) => setQuery(event.target.value) }),
      h(
        "ul.members",
        { key: "members" },
        found.slice(0, whole ? undefined : SHOWN).map((member) => h(MemberRow, { key: member.user.user, desk, one, member, mixed, call, asked })),
      ),
      found.length === 0 && query && h("p.list-hint", { key: "none" }, t("search.none")),
      !whole && found.length > SHOWN && h("button.secondary", { key: "more", type: "button", onclick: () => setWhole(true) }, t("show.more")),
      !query && isLarger(one) && h("p.list-hint", { key: "rest" }, t("members.rest", one.count - present.length)),
    ],
    h(
      "div.detail-buttons",
      button("hide", t("hide"), hide),
      inside && one.role !== "owner" && button("out", t("group.leave"), () => asked(t("group.leave.ask"), t("group.leave"), () => call("group.leave")), true),
      inside && one.role === "owner" && button("trash", t("group.dissolve"), () => asked(t("group.dissolve.ask"), t("group.dissolve"), () => call("group.dissolve")), true),
    ),
  ];
}

function JoinLink({ client, id, attempt }) {
  const [link, setLink] = useState();
  const field = useRef();
  const make = async (on) => {
    const answer = await attempt(() => client.call("group.link", { conversation: id, on }));
    if (answer) setLink(answer.link);
  };
  if (!link) return h("div.detail-buttons", h("button.detail-button", { type: "button", onclick: () => make(true) }, icon("link"), h("span", t("group.link"))));
  return h(
    "div.join-link",
    h("label.list-heading", t("group.link"), h("input", { ref: field, type: "text", readonly: true, value: link, onfocus: (event) => event.target.select() })),
    h("p.list-hint", t("group.link.hint")),
    h("button.link", { type: "button", onclick: () => make(false) }, t("group.link.end")),
  );
}

function MemberRow({ desk, one, member, mixed, call, asked }) {
  const { client } = desk;
  const user = client.user(member.user.user) ?? member.user;
  const id = user.user;
  const me = id === client.me.user;
  const above = !me && !one.left && (one.role === "owner" || (one.role === "admin" && member.role === "member"));
  const muted = (member.muted_until ?? 0) > client.serverNow();
  const items = () => [
    { label: t("profile"), symbol: "person", act: () => desk.profile(id) },
    one.role === "owner" && { label: t(member.role === "admin" ? "group.role.member" : "group.role.admin"), symbol: "crown", act: () => call("group.role", { user: id, role: member.role === "admin" ? "member" : "admin" }) },
    muted
      ? { label: t("group.unmute"), symbol: "bell", act: () => call("group.mute", { user: id, until: 0 }) }
      : { label: t("group.mute.hour"), symbol: "muted", act: () => call("group.mute", { user: id, until: Math.round(client.serverNow() + HOUR) }) },
    one.role === "owner" && { label: t("group.transfer"), symbol: "users", act: () => asked(t("group.transfer.ask", user.name), t("group.transfer"), () => call("group.transfer", { user: id })) },
    { label: t("group.kick"), symbol: "out", danger: true, act: () => asked(t("group.kick.ask", user.name), t("group.kick"), () => call("group.kick", { users: [id] })) },
  ];
  const facts = [member.role !== "member" && t(`role.${member.role}`), muted && t("member.muted")].filter(Boolean).join(" · ");
  return h(
    "li.member",
    h(Avatar, { id, name: user.name, picture: user.avatar, online: client.online.has(id) }),
    h("span.list-text", named(user, mixed, me ? `${user.name} (${t("you")})` : user.name), facts && h("span.list-preview", facts)),
    above
      ? iconButton("more", `${t("more.member")}: ${user.name}`, (event) => showMenu(event.currentTarget, items), { "aria-haspopup": "menu" })
      : !me && iconButton("person", `${t("profile")}: ${user.name}`, () => desk.profile(id)),
  );
}
