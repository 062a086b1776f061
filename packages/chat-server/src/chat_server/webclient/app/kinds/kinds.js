/** How a message of each kind is drawn. What this page does not know shows its name. */
import { nameOf } from "../people.js";
import { has, t } from "../words.js";
import { coloured } from "../text/emoji.js";
import { h, icon } from "../views/h.js";
import { FileCard, Progress, Video, Voice } from "./media.js";
import { Picture } from "./picture.js";
import { Text } from "./text.js";

const ATTACHED = { image: Picture, video: Video, voice: Voice, file: FileCard };

export function Content({ desk, said, acts }) {
  const { kind, body = {} } = said;
  const View = ATTACHED[kind];
  if (View && (body.file || said.blob)) {
    return h(
      "div.attachment",
      { class: kind },
      h(View, { desk, said, acts }),
      said.blob && h(Progress, { upload: said, acts }),
      typeof body.text === "string" && body.text && h(Text, { desk, said }),
    );
  }
  if (kind === "emoji" && typeof body.emoji === "string") return h("div.text.huge", coloured(body.emoji));
  if (kind === "text" && typeof body.text === "string") return h(Text, { desk, said });
  if (kind === "location" && Number.isFinite(body.lat) && Number.isFinite(body.lon)) {
    return h(Card, { symbol: "pin", title: body.label ?? t("kind.location"), detail: `${body.lat.toFixed(5)}, ${body.lon.toFixed(5)}` });
  }
  if (kind === "card" && typeof body.user === "string") {
    return h(Card, { symbol: "person", title: nameOf(desk.client, body.user), detail: t("kind.card"), act: () => desk.profile(body.user) });
  }
  const label = kindName(kind);
  return h(Card, { symbol: "file", title: typeof body.name === "string" ? body.name : label, detail: label });
}

/** What stands for a message that cannot be drawn. */
export const kindName = (kind) => (has(`kind.${kind}`) ? t(`kind.${kind}`) : t("kind.other", kind));

function Card({ symbol, title, detail, act }) {
  const inside = [icon(symbol), h("span", h("span.card-title", title), h("span.card-detail", detail))];
  return act ? h("button.card", { type: "button", tabindex: -1, onclick: act }, inside) : h("div.card", inside);
}
