/** Making a group, and letting people in. */
import { useState } from "../../vendor/preact.js";
import { presentMembers } from "../people.js";
import { ask, Dialog } from "../views/dialog.js";
import { h } from "../views/h.js";
import { errorText, listOf, t } from "../words.js";
import { PeoplePicker } from "./people-picker.js";

/** Resolves to the new conversation's id, or undefined. */
export const groupDialog = (desk) => ask((done) => h(NewGroup, { desk, done }));

function NewGroup({ desk, done }) {
  const [name, setName] = useState("");
  const [chosen, setChosen] = useState(new Map());
  const [{ error, busy }, setState] = useState({});
  const create = async (event) => {
    event.preventDefault();
    if (busy || !name.trim()) return;
    setState({ busy: true });
    try {
      done((await desk.client.createGroup(name.trim(), [...chosen.keys()])).id);
    } catch (problem) {
      setState({ error: errorText(problem) });
    }
  };
  return h(
    Dialog,
    { title: t("new.group"), close: () => done() },
    h(
      "form.dialog-body",
      { onsubmit: create },
      h("input", {
        type: "text",
        value: name,
        placeholder: t("group.name"),
        "aria-label": t("group.name"),
        maxlength: 64,
        "data-autofocus": "",
        oninput: (event) => setName(event.target.value),
      }),
      h(PeoplePicker, { client: desk.client, chosen, change: setChosen }),
      h("p.form-error", { role: "alert" }, error),
      h("div.dialog-buttons", h("button.primary", { type: "submit", disabled: busy || !name.trim() }, t("group.create"))),
    ),
  );
}

export const inviteDialog = (desk, id) => ask((done) => h(Invite, { desk, id, done }));

function Invite({ desk, id, done }) {
  const { client } = desk;
  const [chosen, setChosen] = useState(new Map());
  const [{ error, busy }, setState] = useState({});
  const inside = new Set(presentMembers(client.conversation(id)).map(({ user }) => user.user));
  const invite = async (event) => {
    event.preventDefault();
    setState({ busy: true });
    try {
      const { refused = [], pending = [] } = await client.call("group.invite", { conversation: id, users: [...chosen.keys()] });
      if (pending.length > 0) desk.say(t("invited", listOf(pending.map((user) => chosen.get(user)?.name ?? user))));
      if (refused.length === 0) return done();
      return setState({ error: t("refused", listOf(refused.map(({ user }) => chosen.get(user)?.name ?? user))) });
    } catch (problem) {
      return setState({ error: errorText(problem) });
    }
  };
  return h(
    Dialog,
    { title: t("group.invite"), close: () => done() },
    h(
      "form.dialog-body",
      { onsubmit: invite },
      h(PeoplePicker, { client, chosen, change: setChosen, without: inside }),
      h("p.form-error", { role: "alert" }, error),
      h("div.dialog-buttons", h("button.primary", { type: "submit", disabled: busy || chosen.size === 0 }, t("group.invite.do"))),
    ),
  );
}
