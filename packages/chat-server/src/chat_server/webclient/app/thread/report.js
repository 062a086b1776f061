/** Reporting a message to those who run the server. */
import { useState } from "../../vendor/preact.js";
import { ask, Dialog } from "../views/dialog.js";
import { h } from "../views/h.js";
import { t } from "../words.js";

const CATEGORIES = ["spam", "harassment", "hate", "violence", "sexual", "self_harm", "illegal", "other"];
const REASON_CHARS = 500;

/** Asks why, and sends it; says so when the server has it. */
export async function reportDialog(desk, message, quoted) {
  const why = await ask((done) => h(Why, { quoted, done }));
  if (!why) return;
  const { conversation, seq } = message;
  await desk.attempt(async () => {
    await desk.client.call("message.report", { conversation, seq, ...why });
    desk.say(t("report.done"));
  });
}

function Why({ quoted, done }) {
  const [category, setCategory] = useState();
  const [reason, setReason] = useState("");
  const send = (event) => {
    event.preventDefault();
    if (category) done({ category, reason: reason.trim() || undefined });
  };
  return h(
    Dialog,
    { title: t("report.title"), close: () => done() },
    h(
      "form.dialog-body",
      { onsubmit: send },
      quoted && h("blockquote", quoted),
      h(
        "fieldset.report-reasons",
        h("legend", t("report.why")),
        CATEGORIES.map((name, place) =>
          h(
            "label.report-reason",
            { key: name },
            h("input", { type: "radio", name: "category", value: name, checked: category === name, "data-autofocus": place === 0 ? "" : undefined, onchange: () => setCategory(name) }),
            t(`report.${name}`),
          ),
        ),
      ),
      h("textarea", { value: reason, rows: 3, maxlength: REASON_CHARS, "aria-label": t("report.reason"), placeholder: t("report.reason"), oninput: (event) => setReason(event.target.value) }),
      h("p.list-hint", t("report.hint")),
      h(
        "div.dialog-buttons",
        h("button.secondary", { type: "button", onclick: () => done() }, t("cancel")),
        h("button.primary", { type: "submit", disabled: !category }, t("report")),
      ),
    ),
  );
}
