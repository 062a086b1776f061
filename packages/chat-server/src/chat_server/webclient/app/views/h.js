/** Building views. Text always becomes a text node: nothing in this client parses markup. */
import { Component, createElement, options, render, useLayoutEffect, useReducer, useRef } from "../../vendor/preact.js";
import { PATHS } from "../icons.js";
import { changed } from "../settings.js";
import { language } from "../words.js";

/** `h("button.primary", {onclick, "aria-label": "…"}, "text", child)` or `h(View, props)`; null and false children are left out. */
export function h(selector, ...rest) {
  let props = rest[0]?.constructor === Object ? rest.shift() : {}; // a view's node has no constructor
  if (typeof selector !== "string") return createElement(selector, props, ...rest);
  const [tag, ...classes] = selector.split(".");
  if (classes.length) props = { ...props, class: [...classes, props.class].filter(Boolean).join(" ") };
  return createElement(tag || "div", props, ...rest);
}

/** A decorative icon; what it means is said by its button's label. */
export function icon(name) {
  return createElement("svg", { viewBox: "0 0 24 24", class: `icon icon-${name}`, "aria-hidden": "true" }, createElement("path", { d: PATHS[name] }));
}

/** A button that shows only an icon. */
export function iconButton(name, label, onclick, props = {}) {
  return h("button.icon-button", { type: "button", "aria-label": label, title: label, onclick, ...props }, icon(name));
}

// A hidden tab has no frames, and its timers may run once a minute; a message to oneself comes at once.
let due = [];
const { port1, port2 } = new MessageChannel();
const runDue = () => {
  for (const act of due.splice(0)) {
    try {
      act();
    } catch (error) {
      reportError(error);
    }
  }
};
port1.onmessage = runDue;
document.addEventListener("visibilitychange", () => port2.postMessage(0)); // a frame that was asked for may not come

/** Runs `act` with the next frame, or soon in a tab that is hidden. */
function nextFrame(act) {
  due.push(act);
  if (due.length > 1) return;
  if (document.visibilityState === "hidden") port2.postMessage(0);
  else requestAnimationFrame(runDue);
}

/** Runs `act` at most once per frame however often it is asked. */
export function perFrame(act) {
  let asked = false;
  const run = () => {
    asked = false;
    act();
  };
  return () => {
    if (asked) return;
    asked = true;
    nextFrame(run);
  };
}

options.requestAnimationFrame = nextFrame; // for effects; the library's own way ends in a timer

// All changes of one frame are drawn together, in a hidden tab too: a burst of frames draws once. But what somebody does
// meets the page as it is: letters that were typed a moment ago are in the form that Enter sends, however busy the machine.
let owed = [];
const drawOwed = () => {
  for (const draw of owed.splice(0)) draw();
};
const drawSoon = perFrame(drawOwed);
options.debounceRendering = (draw) => {
  owed.push(draw);
  drawSoon();
};
for (const act of ["keydown", "click", "submit", "pointerdown", "contextmenu"]) addEventListener(act, drawOwed, true);

/** Draws the view again when the client tells one of these events; `mine(detail, event)` says which ones matter. */
export function useClient(client, events, mine = () => true) {
  const again = useAgain();
  useLayoutEffect(() => {
    const stops = events.map((event) => client.on(event, (detail) => mine(detail, event) && again()));
    return () => stops.forEach((stop) => stop());
  }, [client]);
}

/** A signal's value; the view is drawn again when it changes. Signals are read by this alone: see docs/decisions. */
export function useSignal(signal) {
  const again = useAgain();
  useLayoutEffect(() => {
    let first = true;
    return signal.subscribe(() => (first ? (first = false) : again()));
  }, [signal]);
  return signal.peek();
}

export function useAgain() {
  return useReducer((n) => n + 1, 0)[1];
}

/** A listener that lives as long as its view. From its first drawing on: a key may come before the next frame. */
export function useListener(target, event, listener, options) {
  const latest = useRef();
  latest.current = listener;
  useLayoutEffect(() => {
    const heard = (detail) => latest.current(detail);
    target.addEventListener(event, heard, options);
    return () => target.removeEventListener(event, heard, options);
  }, [target, event]);
}

/** What cannot be drawn shows `fallback`, and everything around it goes on. */
export class Guard extends Component {
  componentDidCatch(error) {
    console.error("a view failed", error);
    this.setState({ failed: this.props.of });
  }

  render({ of, fallback, children }, { failed }) {
    return failed !== undefined && failed === of ? fallback() : children;
  }
}

const overlays = new Set();

/**
 * Draws a view above the page, inside the topmost dialog where there is one (all else is inert then).
 * @param {(close: () => void) => object} view
 * @returns what takes it away
 */
export function overlay(view) {
  const open = [...document.querySelectorAll("dialog[open]")];
  const place = document.createElement("div");
  place.className = "overlay";
  (open.at(-1) ?? document.body).append(place);
  const close = () => {
    if (!overlays.delete(close)) return;
    for (const stop of stops) stop();
    render(null, place);
    place.remove();
  };
  overlays.add(close);
  let drawn = false;
  const draw = () => drawn && render(view(close), place);
  const stops = [language, changed].map((signal) => signal.subscribe(draw)); // calls at once; it is drawn below
  drawn = true;
  draw();
  return close;
}

/** What a session opened closes with it. */
export function closeOverlays() {
  for (const close of [...overlays].reverse()) close();
}

/** Tells a screen reader something that happened elsewhere on the screen. */
export function announce(text) {
  document.getElementById("announcer").textContent = text;
}
