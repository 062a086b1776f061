/** A menu beside the button that opened it. */
import { fill, h, icon } from "./dom.js";

let open;

/**
 * @param trigger what gets the focus back: an element, or what returns it at the time
 * @param listed the items, or what returns those of the moment: `{label, symbol, act, danger?, disabled?}`; false ones
 *   are left out
 * @returns what brings an open menu up to date; with no items left it closes
 */
export function showMenu(trigger, listed, point) {
  open?.();
  const back = () => (typeof trigger === "function" ? trigger() : trigger);
  const items = () => (typeof listed === "function" ? listed() : listed).filter(Boolean);
  const menu = h("div.menu", { role: "menu", tabindex: "-1" });
  let shown;
  function update() {
    if (open !== close) return;
    const wanted = items();
    const signature = wanted.map(({ label, disabled }) => `${label}${Boolean(disabled)}`).join();
    if (signature === shown) return;
    shown = signature;
    const focused = menu.contains(document.activeElement) && document.activeElement.textContent;
    fill(menu, wanted.map((item) => entry(item)));
    const buttons = enabled();
    if (wanted.length === 0) close(true);
    else if (menu.isConnected) (buttons.find(({ textContent }) => textContent === focused) ?? buttons[0] ?? menu).focus();
  }
  function entry({ label, symbol, act, danger, disabled }) {
    const onclick = () => {
      close(true);
      act();
    };
    const props = { type: "button", role: "menuitem", tabindex: "-1", disabled: Boolean(disabled), onclick };
    return h(`button.menu-item${danger ? ".danger" : ""}`, props, symbol ? icon(symbol) : null, h("span", label));
  }
  const enabled = () => [...menu.querySelectorAll("button:enabled")];
  const outside = (event) => {
    if (!menu.contains(event.target)) close(false);
  };
  function close(refocus) {
    if (open !== close) return;
    open = undefined;
    menu.remove();
    document.removeEventListener("pointerdown", outside, true);
    if (refocus) back()?.focus();
  }
  menu.addEventListener("keydown", (event) => {
    const buttons = enabled();
    const index = buttons.indexOf(document.activeElement);
    const to = { ArrowDown: index + 1, ArrowUp: index - 1, Home: 0, End: buttons.length - 1 }[event.key];
    if (event.key === "Escape" || event.key === "Tab") close(true);
    else if (to === undefined) return;
    else buttons[(to + buttons.length) % buttons.length]?.focus();
    event.preventDefault();
    event.stopPropagation();
  });
  open = close;
  update();
  (document.querySelector("dialog[open]") ?? document.body).append(menu);
  place(menu, point ?? corner(back()));
  document.addEventListener("pointerdown", outside, true);
  (enabled()[0] ?? menu).focus();
  return update;
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
