/** Questions and forms: native modal dialogs, so that focus stays in and comes back. */
import { fill, h, icon, iconButton } from "./dom.js";
import { avatar, titleOf } from "./people.js";
import { showMenu } from "./menu.js";
import { t } from "./words.js";

let titles = 0;

function dialog(title, body, { kind = "" } = {}) {
  titles += 1;
  const id = `dialog-title-${titles}`;
  const box = h(
    `dialog.dialog${kind}`,
    { "aria-labelledby": id },
    h("header.dialog-head", h("h2", { id }, title), iconButton("close", t("close"), () => box.close())),
    body,
  );
  box.addEventListener("close", () => box.remove());
  box.addEventListener("pointerdown", (event) => event.target === box && box.close());
  document.body.append(box);
  box.showModal();
  return box;
}

/** Resolves to whether the person agreed. */
export function confirmDialog(question, yes, quoted) {
  return new Promise((resolve) => {
    let agreed = false;
    const agree = () => {
      agreed = true;
      box.close();
    };
    const box = dialog(
      question,
      h(
        "div.dialog-body",
        quoted ? h("blockquote", quoted) : null,
        h(
          "div.dialog-buttons",
          h("button.secondary", { type: "button", onclick: () => box.close() }, t("cancel")),
          h("button.primary", { type: "button", autofocus: true, onclick: agree }, yes),
        ),
      ),
    );
    box.addEventListener("close", () => resolve(agreed));
  });
}

/** Asks for one line of text; resolves to it, or undefined. */
export function promptDialog(title, label, value, yes) {
  return new Promise((resolve) => {
    let answer;
    const input = h("input", { type: "text", value, maxlength: "64", required: true, autofocus: true, "aria-label": label });
    const box = dialog(
      title,
      h(
        "form.dialog-body",
        {
          onsubmit: (event) => {
            event.preventDefault();
            answer = input.value.trim() || undefined;
            box.close();
          },
        },
        input,
        h("div.dialog-buttons", h("button.primary", { type: "submit" }, yes)),
      ),
    );
    input.select();
    box.addEventListener("close", () => resolve(answer));
  });
}

/** A search for people with a list to tick. `chosen` holds the users picked so far. */
function peoplePicker(client, changed, without = new Set()) {
  const chosen = new Map();
  const chips = h("div.chips");
  const results = h("div.picker-results");
  let asked = 0;
  const input = h("input", {
    type: "search",
    placeholder: t("group.pick"),
    "aria-label": t("group.pick"),
    autocomplete: "off",
    oninput: () => search(),
    onkeydown: (event) => {
      if (event.key !== "Enter") return;
      event.preventDefault();
      results.querySelector("button")?.click();
    },
  });
  /** People one talks with already, whatever the server's search makes of the letters. */
  function known(query = "") {
    const peers = client.list().map(({ peer }) => peer);
    return peers.filter((peer) => peer?.name.toLowerCase().includes(query.toLowerCase())).slice(0, 20);
  }
  function show(users) {
    const offered = users.filter(({ user }) => user !== client.me.user && !without.has(user));
    fill(
      results,
      offered.length === 0 && input.value ? h("p.list-hint", t("search.none")) : null,
      offered.map((user) =>
        h(
          "button.list-button.person",
          { type: "button", "aria-pressed": String(chosen.has(user.user)), onclick: () => toggle(user) },
          avatar(user.user, user.name),
          h("span.list-text", h("span.list-title", user.name)),
          chosen.has(user.user) ? icon("check") : null,
        ),
      ),
    );
  }
  let shown = known();
  function toggle(user) {
    if (!chosen.delete(user.user)) chosen.set(user.user, user);
    fill(
      chips,
      [...chosen.values()].map((one) =>
        h("button.chip", { type: "button", "aria-label": `${t("group.kick")}: ${one.name}`, onclick: () => toggle(one) }, one.name, icon("close")),
      ),
    );
    input.value = "";
    shown = known();
    show(shown);
    input.focus();
    changed(chosen);
  }
  async function search() {
    const query = input.value.trim();
    asked += 1;
    const mine = asked;
    if (!query) {
      shown = known();
      show(shown);
      return;
    }
    try {
      const { users } = await client.call("user.search", { query });
      const near = known(query);
      const ids = new Set(near.map(({ user }) => user));
      if (mine === asked) show((shown = [...near, ...users.filter(({ user }) => !ids.has(user))]));
    } catch (error) {
      if (mine === asked) fill(results, h("p.list-hint", error.message));
    }
  }
  show(shown);
  return { element: h("div.picker", chips, input, results), chosen, input };
}

/** Resolves to the new conversation's id, or undefined. */
export function groupDialog(client) {
  return new Promise((resolve) => {
    let made;
    const name = h("input", { type: "text", placeholder: t("group.name"), "aria-label": t("group.name"), maxlength: "64", autofocus: true });
    const error = h("p.form-error", { role: "alert" });
    const create = h("button.primary", { type: "submit", disabled: true }, t("group.create"));
    const ready = () => {
      create.disabled = !name.value.trim();
    };
    name.addEventListener("input", ready);
    const picker = peoplePicker(client, ready);
    const box = dialog(
      t("new.group"),
      h(
        "form.dialog-body",
        {
          onsubmit: async (event) => {
            event.preventDefault();
            create.disabled = true;
            try {
              made = (await client.createGroup(name.value.trim(), [...picker.chosen.keys()])).id;
              box.close();
            } catch (problem) {
              error.textContent = problem.message;
              create.disabled = false;
            }
          },
        },
        name,
        picker.element,
        error,
        h("div.dialog-buttons", create),
      ),
    );
    box.addEventListener("close", () => resolve(made));
  });
}

function inviteDialog(client, id) {
  const { members } = client.conversation(id);
  const inside = new Set([...(members?.values() ?? [])].filter(({ spans }) => spans.at(-1).length === 1).map(({ user }) => user.user));
  const error = h("p.form-error", { role: "alert" });
  const invite = h("button.primary", { type: "submit", disabled: true }, t("group.invite.do"));
  const picker = peoplePicker(client, (chosen) => (invite.disabled = chosen.size === 0), inside);
  const box = dialog(
    t("group.invite"),
    h(
      "form.dialog-body",
      {
        onsubmit: async (event) => {
          event.preventDefault();
          invite.disabled = true;
          try {
            const { refused } = await client.call("group.invite", { conversation: id, users: [...picker.chosen.keys()] });
            if (refused.length === 0) {
              box.close();
              return;
            }
            const names = refused.map(({ user }) => picker.chosen.get(user)?.name ?? user);
            error.textContent = t("refused", names.join(t("list.and")));
          } catch (problem) {
            error.textContent = problem.message;
            invite.disabled = false;
          }
        },
      },
      picker.element,
      error,
      h("div.dialog-buttons", invite),
    ),
  );
  picker.input.focus();
}

/** A conversation's people and switches; follows what changes while it is open. `hidden()`: it is not in the list now. */
export function detailsDialog(client, id, hidden) {
  const body = h("div.dialog-body.details");
  const error = h("p.form-error", { role: "alert" });
  const box = dialog(titleOf(client, client.conversation(id)), body, { kind: ".sheet" });

  const attempt = async (act) => {
    error.textContent = "";
    try {
      await act();
    } catch (problem) {
      error.textContent = problem.message;
    }
  };
  const call = (command, params) => attempt(() => client.call(command, { conversation: id, ...params }));

  function memberRow(one, member) {
    const user = client.user(member.user.user) ?? member.user;
    const mayKick = (one.role === "owner" || (one.role === "admin" && member.role === "member")) && user.user !== client.me.user;
    const role = member.role === "member" ? "" : t(`role.${member.role}`);
    const row = h(
      "li.member",
      avatar(user.user, user.name, { online: client.online.has(user.user) }),
      h("span.list-text", h("span.list-title", user.user === client.me.user ? `${user.name} (${t("you")})` : user.name), role ? h("span.list-preview", role) : null),
    );
    if (mayKick && !one.left) {
      const menu = (event) =>
        showMenu(event.currentTarget, [
          one.role === "owner" && {
            label: t("group.transfer"),
            symbol: "users",
            act: async () => (await confirmDialog(t("group.transfer.ask", user.name), t("group.transfer"))) && call("group.transfer", { user: user.user }),
          },
          {
            label: t("group.kick"),
            symbol: "out",
            danger: true,
            act: async () => (await confirmDialog(t("group.kick.ask", user.name), t("group.kick"))) && call("group.kick", { users: [user.user] }),
          },
        ]);
      row.append(iconButton("more", `${t("more")}: ${user.name}`, menu, { "aria-haspopup": "menu" }));
    }
    return row;
  }

  function render() {
    const one = client.conversation(id);
    if (!one) {
      box.close();
      return;
    }
    box.querySelector("h2").textContent = titleOf(client, one);
    const group = one.kind === "group";
    const manages = group && !one.left && ["owner", "admin"].includes(one.role);
    const members = [...(one.members?.values() ?? [])].filter(({ spans }) => spans.at(-1).length === 1);
    const rank = { owner: 0, admin: 1, member: 2 };
    members.sort((a, b) => rank[a.role] - rank[b.role] || a.user.name.localeCompare(b.user.name));
    const button = (symbol, label, act, danger = false) =>
      h(`button.detail-button${danger ? ".danger" : ""}`, { type: "button", onclick: act }, icon(symbol), label);
    const focused = document.activeElement?.textContent;
    fill(
      body,
      h(
        "div.detail-buttons",
        button("muted", t(one.muted ? "unmute" : "mute"), () => attempt(() => client.setInbox(id, { muted: !one.muted }))),
        button("pin", t(one.pinned ? "unpin" : "pin"), () => attempt(() => client.setInbox(id, { pinned: !one.pinned }))),
        manages
          ? button("edit", t("group.rename"), async () => {
              const name = await promptDialog(t("group.rename"), t("group.name"), one.name, t("save"));
              if (name && name !== one.name) await attempt(() => client.updateGroup(id, { name }));
            })
          : null,
        group && !one.left ? button("plus", t("group.invite"), () => inviteDialog(client, id)) : null,
      ),
      error,
      group && !one.left ? h("h3.list-heading", t("members", members.length)) : null,
      group && !one.left ? h("ul.members", members.slice(0, 300).map((member) => memberRow(one, member))) : null,
      h(
        "div.detail-buttons",
        button("hide", t("hide"), async () => {
          await attempt(() => client.setInbox(id, { hidden: true }));
          if (!client.conversation(id)?.hidden) return;
          box.close();
          hidden();
        }),
        group && !one.left && one.role !== "owner"
          ? button("out", t("group.leave"), async () => (await confirmDialog(t("group.leave.ask"), t("group.leave"))) && call("group.leave", {}), true)
          : null,
        group && !one.left && one.role === "owner"
          ? button("trash", t("group.dissolve"), async () => (await confirmDialog(t("group.dissolve.ask"), t("group.dissolve"))) && call("group.dissolve", {}), true)
          : null,
      ),
    );
    if (focused) [...body.querySelectorAll("button")].find((one) => one.textContent === focused)?.focus();
  }

  const stops = [
    client.on("conversation", (changed) => changed === id && render()),
    client.on("presence", render),
    client.on("reset", () => box.close()),
  ];
  box.addEventListener("close", () => stops.forEach((stop) => stop()));
  render();
}
