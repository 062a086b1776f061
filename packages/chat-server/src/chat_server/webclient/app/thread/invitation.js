/** A group that one was invited to and has not answered: nothing but its name is known. */
import { nameOf } from "../people.js";
import { open } from "../route.js";
import { Avatar } from "../views/avatar.js";
import { h, iconButton } from "../views/h.js";
import { t } from "../words.js";

export function Invitation({ desk, one, back }) {
  const { client } = desk;
  const accept = () => desk.attempt(() => client.accept(one.id));
  const decline = async () => {
    await desk.attempt(() => client.decline(one.id));
    if (!client.conversation(one.id)) open(undefined);
  };
  return h(
    "section.thread",
    { "aria-label": one.name },
    h("header.thread-head", iconButton("back", t("back"), back, { class: "icon-button back" }), h("div.thread-title", h("h1", one.name))),
    h(
      "div.nothing.invitation",
      h(Avatar, { id: one.id, name: one.name ?? "", group: true, size: "large" }),
      h("p", t("invitation.from", one.invited_by ? nameOf(client, one.invited_by.user) : t("unknown"), one.name)),
      h(
        "div.dialog-buttons",
        h("button.primary", { type: "button", onclick: accept }, t("invitation.accept")),
        h("button.secondary", { type: "button", onclick: decline }, t("invitation.decline")),
        one.invited_by && h("button.secondary", { type: "button", onclick: () => desk.profile(one.invited_by.user) }, t("profile")),
      ),
    ),
  );
}
