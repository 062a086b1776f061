/** A list however long: only the rows on the screen are elements, in the order in which one reads them. */
import { useLayoutEffect, useRef, useState } from "../../vendor/preact.js";
import { h } from "./h.js";

const OVERSCAN = 6;

/**
 * @param props `items` with ids; `height` of a row in pixels; `row(item, {tabindex})`; `start`: the id that is reached by
 *   Tab; `over(by)`: the arrows go past an end; `handle`: a ref that gets `{focus(at), top()}`; `children` below the rows
 */
export function Rows({ items, height, label, start, row, over = () => {}, children, handle, ...rest }) {
  const scroll = useRef();
  const wanted = useRef(); // id to be focused as soon as it is drawn
  const [{ top, room }, look] = useState({ top: 0, room: 0 });
  const [roving, setRoving] = useState(start);
  const seen = () => look({ top: scroll.current.scrollTop, room: scroll.current.clientHeight });
  useLayoutEffect(() => {
    const observer = new ResizeObserver(seen);
    observer.observe(scroll.current);
    return () => observer.disconnect();
  }, []);
  useLayoutEffect(() => setRoving(start), [start]);
  const focused = scroll.current?.contains(document.activeElement) ? document.activeElement : undefined;
  useLayoutEffect(() => {
    // Where moving an element drops its focus (Safari has no moveBefore), it is given back.
    if (focused?.isConnected && document.activeElement === document.body) focused.focus({ preventScroll: true });
    if (wanted.current === undefined) return;
    scroll.current.querySelector(`[data-id="${CSS.escape(wanted.current)}"] > *`)?.focus({ preventScroll: true });
    wanted.current = undefined;
  });
  const held = items.findIndex(({ id }) => id === roving);
  const first = Math.max(0, Math.floor(top / height) - OVERSCAN);
  const last = Math.min(items.length, Math.ceil((top + room) / height) + OVERSCAN);
  const shown = items.slice(first, last).map((item, n) => ({ item, at: first + n }));
  // The focused row stays an element wherever it moves, and so keeps the focus.
  if (held >= 0 && held < first) shown.unshift({ item: items[held], at: held });
  else if (held >= last) shown.push({ item: items[held], at: held });

  function focus(at) {
    const item = items[Math.min(at, items.length - 1)];
    if (!item) return;
    const y = items.indexOf(item) * height;
    const box = scroll.current;
    if (y < box.scrollTop) box.scrollTop = y;
    else if (y + height > box.scrollTop + box.clientHeight) box.scrollTop = y + height - box.clientHeight;
    wanted.current = item.id;
    setRoving(item.id);
    seen();
  }
  function onkeydown(event) {
    const at = items.findIndex(({ id }) => id === event.target.closest(".list-row")?.dataset.id);
    const page = Math.floor(room / height);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, PageDown: at + page, PageUp: Math.max(0, at - page), Home: 0, End: items.length - 1 }[event.key];
    if (at < 0 || to === undefined || event.altKey) return;
    event.preventDefault();
    if (to < 0 || (event.key === "ArrowDown" && to >= items.length)) over(to < 0 ? -1 : 1);
    else focus(to);
  }
  if (handle) handle.current = { focus, top: () => (scroll.current.scrollTop = 0) };
  return h(
    "div.list-scroll",
    { ...rest, ref: scroll, onscroll: seen, onkeydown, onfocusin: (event) => setRoving(event.target.closest(".list-row")?.dataset.id ?? roving) },
    h(
      "ul.list-rows",
      { "aria-label": label, style: { height: `${items.length * height}px` } },
      shown.map(({ item, at }) =>
        h(
          "li.list-row",
          { key: item.id, "data-id": item.id, "aria-setsize": items.length, "aria-posinset": at + 1, style: { height: `${height}px`, transform: `translateY(${at * height}px)` } },
          row(item, { tabindex: item.id === (held >= 0 ? roving : items[0].id) ? 0 : -1 }),
        ),
      ),
    ),
    children,
  );
}
