/** A short word at the lower edge that goes by itself; it is read out too. */
import { signal } from "../../vendor/preact.js";
import { h, useSignal } from "./h.js";

const SHOWN = 4000;
const current = signal(undefined);
let timer;

export function toast(text, { act, label } = {}) {
  clearTimeout(timer);
  current.value = { text, act, label };
  timer = setTimeout(() => (current.value = undefined), SHOWN);
}

export function Toasts() {
  const one = useSignal(current);
  return h(
    "div.toasts",
    { role: "status" },
    one && h("div.toast", h("span", one.text), one.act && h("button.link", { type: "button", onclick: one.act }, one.label)),
  );
}
