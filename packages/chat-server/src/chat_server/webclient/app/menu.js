/** A menu beside the button that opened it. */
import { h, icon } from "./dom.js";

let open;

/** @param items `{label, symbol, act, danger?}`; false ones are left out */
export function showMenu(trigger, items, point) {
  open?.();
  const back = trigger;
  const buttons = items.filter(Boolean).map(({ label, symbol, act, danger }) =>
    h(
      `button.menu-item${danger ? ".danger" : ""}`,
      {
        type: "button",
        role: "menuitem",
        tabindex: "-1",
        onclick: () => {
          close(true);
          act();
        },
      },
      symbol ? icon(symbol) : null,
      h("span", label),
    ),
  );
  const menu = h("div.menu", { role: "menu" }, buttons);
  const outside = (event) => {
    if (!menu.contains(event.target)) close(false);
  };
  function close(refocus) {
    if (open !== close) return;
    open = undefined;
    menu.remove();
    document.removeEventListener("pointerdown", outside, true);
    if (refocus && back?.isConnected) back.focus();
  }
  menu.addEventListener("keydown", (event) => {
    const index = buttons.indexOf(document.activeElement);
    const to = { ArrowDown: index + 1, ArrowUp: index - 1, Home: 0, End: buttons.length - 1 }[event.key];
    if (event.key === "Escape" || event.key === "Tab") close(true);
    else if (to === undefined) return;
    else buttons[(to + buttons.length) % buttons.length].focus();
    event.preventDefault();
    event.stopPropagation();
  });
  (document.querySelector("dialog[open]") ?? document.body).append(menu);
  place(menu, point ?? corner(trigger));
  open = close;
  document.addEventListener("pointerdown", outside, true);
  buttons[0]?.focus();
}

function corner(element) {
  const box = element.getBoundingClientRect();
  return { x: box.left, y: box.bottom + 4, above: box.top - 4 };
}

function place(menu, { x, y, above = y }) {
  const { width, height } = menu.getBoundingClientRect();
  const left = Math.max(8, Math.min(x, innerWidth - width - 8));
  const top = y + height > innerHeight - 8 ? Math.max(8, above - height) : y;
  menu.style.left = `${left}px`;
  menu.style.top = `${top}px`;
}
