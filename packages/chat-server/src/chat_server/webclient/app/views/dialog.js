/** Questions and forms: native modal dialogs, so that focus stays in and comes back. */
import { useLayoutEffect, useRef, useState } from "../../vendor/preact.js";
import { t } from "../words.js";
import { h, iconButton, overlay } from "./h.js";

let titles = 0;
/** Not `useId`, whose ids are unique within one root: every dialog above the page is a root of its own. */
const newId = () => `dialog-title-${(titles += 1)}`;

/** A native modal dialog for as long as the view is drawn; `close` is told when it has been closed. */
export function Dialog({ title, kind = "", close, children, actions }) {
  const box = useRef();
  const [id] = useState(newId);
  // Whoever draws it knows at once: the browser tells of the end a moment later, and a key may come between.
  const shut = () => {
    box.current.close();
    close();
  };
  useLayoutEffect(() => {
    if (!box.current.open) box.current.showModal();
    box.current.querySelector("[data-autofocus]")?.focus();
  }, []);
  return h(
    `dialog.dialog${kind}`,
    {
      ref: box,
      "aria-labelledby": id,
      oncancel: (event) => {
        if (event.target !== box.current) return; // a file chooser's
        event.preventDefault();
        shut();
      },
      onclose: (event) => event.target === box.current && close(), // by a way that cannot be cancelled
      onpointerdown: (event) => event.target === box.current && shut(),
      onkeydown: (event) => event.key !== "Escape" || event.stopPropagation(), // it closes the dialog, and nothing below
    },
    h("header.dialog-head", h("h2", { id }, title), actions, iconButton("close", t("close"), shut)),
    children,
  );
}

/** Shows a dialog; resolves to what `done(value)` was given, or undefined. `view(done)` draws a `Dialog` with `close: done`. */
export function ask(view) {
  return new Promise((resolve) => {
    const back = document.activeElement;
    const close = overlay(() =>
      view((value) => {
        close();
        resolve(value);
        if (document.activeElement === document.body) back?.focus?.();
      }),
    );
  });
}

/** Resolves to whether the person agreed. */
export async function confirmDialog(question, yes, { quoted, danger = false } = {}) {
  const agreed = await ask((done) =>
    h(
      Dialog,
      { title: question, close: () => done(false) },
      h(
        "div.dialog-body",
        quoted && h("blockquote", quoted),
        h(
          "div.dialog-buttons",
          h("button.secondary", { type: "button", onclick: () => done(false) }, t("cancel")),
          h("button.primary", { type: "button", class: danger ? "danger-button" : "", "data-autofocus": "", onclick: () => done(true) }, yes),
        ),
      ),
    ),
  );
  return Boolean(agreed);
}

/** Says something that has to be read. */
export function noticeDialog(text) {
  return ask((done) =>
    h(
      Dialog,
      { title: text, close: done },
      h("div.dialog-body", h("div.dialog-buttons", h("button.primary", { type: "button", "data-autofocus": "", onclick: () => done() }, t("ok")))),
    ),
  );
}

/** Asks for a text; resolves to it, or undefined. */
export function promptDialog(title, label, value, yes, { maxlength = 64, rows = 1 } = {}) {
  return ask((done) => h(Prompt, { title, label, value, yes, maxlength, rows, done }));
}

function Prompt({ title, label, value, yes, maxlength, rows, done }) {
  const [text, setText] = useState(value ?? "");
  const input = useRef();
  useLayoutEffect(() => input.current.select(), []);
  const props = { ref: input, value: text, maxlength, "data-autofocus": "", "aria-label": label, oninput: (event) => setText(event.target.value) };
  return h(
    Dialog,
    { title, close: () => done() },
    h(
      "form.dialog-body",
      {
        onsubmit: (event) => {
          event.preventDefault();
          if (text.trim()) done(text.trim());
        },
      },
      rows > 1 ? h("textarea", { ...props, rows }) : h("input", { type: "text", ...props }),
      h("div.dialog-buttons", h("button.primary", { type: "submit", disabled: !text.trim() }, yes)),
    ),
  );
}
