/** A menu beside the button that opened it. */
import { useLayoutEffect, useRef } from "../../vendor/preact.js";
import { h, icon, overlay, useAgain, useListener } from "./h.js";

let closeOpen;

/**
 * @param trigger what gets the focus back: an element, or what returns it at the time
 * @param listed the items, or what returns those of the moment: `{label, symbol, act, danger?, disabled?, checked?}`; false
 *   ones are left out; with no items left the menu closes
 * @param options `point`: where it opens instead of beside the trigger; `above`: drawn over the items
 * @returns what brings an open menu up to date
 */
export function showMenu(trigger, listed, { point, above } = {}) {
  closeOpen?.(false);
  const back = () => (typeof trigger === "function" ? trigger() : trigger);
  const handle = {};
  const remove = overlay((gone) => h(Menu, { listed, above, handle, place: point ?? corner(back()), close, gone }));
  function close(refocus) {
    if (closeOpen !== close) return;
    closeOpen = undefined;
    remove();
    if (refocus) back()?.focus();
  }
  closeOpen = close;
  return () => handle.update?.();
}

function Menu({ listed, above, handle, place, close }) {
  const again = useAgain();
  const box = useRef();
  const items = (typeof listed === "function" ? listed() : listed).filter(Boolean);
  handle.update = again;
  const enabled = () => [...box.current.querySelectorAll("button:enabled")];
  useLayoutEffect(() => {
    if (items.length === 0) return close(true);
    const { width, height } = box.current.getBoundingClientRect();
    const top = place.y + height > innerHeight - 8 ? Math.max(8, (place.above ?? place.y) - height) : place.y;
    box.current.style.left = `${Math.max(8, Math.min(place.x, innerWidth - width - 8))}px`;
    box.current.style.top = `${top}px`;
    return undefined;
  });
  useLayoutEffect(() => {
    (enabled()[0] ?? box.current).focus();
  }, []);
  useLayoutEffect(() => {
    if (!box.current?.contains(document.activeElement) && document.activeElement === document.body) enabled()[0]?.focus();
  });
  useListener(document, "pointerdown", (event) => !box.current?.contains(event.target) && close(false), true);
  useListener(globalThis, "blur", () => close(false));
  function onkeydown(event) {
    const buttons = enabled();
    const index = buttons.indexOf(document.activeElement);
    const to = { ArrowDown: index + 1, ArrowUp: index - 1, ArrowRight: index + 1, ArrowLeft: index - 1, Home: 0, End: buttons.length - 1 }[event.key];
    if (event.key === "Escape" || event.key === "Tab") close(true);
    else if (to === undefined) return;
    else buttons.at(to % buttons.length)?.focus();
    event.preventDefault();
    event.stopPropagation();
  }
  return h(
    "div.menu",
    { ref: box, role: "menu", tabindex: -1, onkeydown },
    above?.(close),
    items.map(({ label, symbol, act, danger, disabled, checked }) =>
      h(
        "button.menu-item",
        {
          key: label,
          type: "button",
          role: checked === undefined ? "menuitem" : "menuitemcheckbox",
          "aria-checked": checked === undefined ? undefined : String(checked),
          tabindex: -1,
          disabled: Boolean(disabled),
          class: danger ? "danger" : "",
          onclick: () => {
            close(true);
            act();
          },
        },
        symbol && icon(symbol),
        h("span", label),
      ),
    ),
  );
}

function corner(element) {
  const box = element?.getBoundingClientRect() ?? { left: 0, bottom: 0, top: 0 };
  return { x: box.left, y: box.bottom + 4, above: box.top - 4 };
}
