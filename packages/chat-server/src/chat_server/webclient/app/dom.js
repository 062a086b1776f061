/** Building elements. Text always becomes a text node: nothing in this client parses markup. */

/** `h("button.primary", {onclick, "aria-label": "…"}, "text", child)`; null and false children are left out. */
export function h(selector, ...rest) {
  const [tag, ...classes] = selector.split(".");
  const element = document.createElement(tag || "div");
  if (classes.length) element.className = classes.join(" ");
  const [first] = rest;
  const isProps = first && typeof first === "object" && !(first instanceof Node) && !Array.isArray(first);
  if (isProps) set(element, rest.shift());
  append(element, rest);
  return element;
}

export function set(element, props) {
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) element.removeAttribute(name);
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (["value", "checked", "disabled", "hidden", "htmlFor", "textContent", "tabIndex"].includes(name)) element[name] = value;
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  return element;
}

function append(element, children) {
  for (const child of children.flat(2)) if (child !== null && child !== undefined && child !== false) element.append(child);
}

/** Replaces the children of an element. */
export function fill(element, ...children) {
  element.replaceChildren();
  append(element, children);
  return element;
}

const SVG = "http://www.w3.org/2000/svg";
const PATHS = {
  menu: "M4 7h16M4 12h16M4 17h16",
  plus: "M12 5v14M5 12h14",
  search: "M11 18a7 7 0 1 0 0-14 7 7 0 0 0 0 14zM20 20l-4-4",
  back: "M15 5l-7 7 7 7",
  info: "M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18zM12 11v5M12 8v.01",
  send: "M4 12l16-8-6 16-3-7-7-1z",
  smile: "M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18zM8.500 14.500s1.200 2 3.500 2 3.500-2 3.500-2M9 9.500v.01M15 9.500v.01",
  reply: "M9 7L4 12l5 5M4 12h10a6 6 0 0 1 6 6",
  more: "M5 12v.01M12 12v.01M19 12v.01",
  check: "M5 13l4 4L19 7",
  checks: "M2 13l4 4L16 7M11 16l1 1L22 7",
  clock: "M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18zM12 7v5l3 2",
  alert: "M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18zM12 7v6M12 16.500v.01",
  close: "M6 6l12 12M18 6L6 18",
  users: "M9 11a3.500 3.500 0 1 0 0-7 3.500 3.500 0 0 0 0 7zM2.500 20c0-3.500 3-6 6.500-6s6.500 2.500 6.500 6M16 4.500a3.500 3.500 0 0 1 0 6.500M18 14.500c2 .8 3.500 2.800 3.500 5.500",
  edit: "M5 19l1-4L16.500 4.500l3 3L9 18z",
  recall: "M4 7v5h5M4.500 12a8 8 0 1 1 2 5.500",
  copy: "M9 9h10v11H9zM5 15V4h10",
  down: "M6 9l6 6 6-6",
  muted: "M6 9a6 6 0 0 1 9-5M18 11c0 5 2 6 2 6H8M10 20a2 2 0 0 0 4 0M4 4l16 16",
  pin: "M12 16v5M8 4h8l-1 6 3 4v2H6v-2l3-4z",
  hide: "M4 4l16 16M10 6a10 10 0 0 1 11 6 13 13 0 0 1-3 4M6 7.500A13 13 0 0 0 3 12a10 10 0 0 0 12 5.500M10 10a3 3 0 0 0 4 4",
  out: "M14 4h5v16h-5M4 12h11M11 8l4 4-4 4",
  trash: "M5 7h14M10 7V4h4v3M7 7l1 13h8l1-13",
  chat: "M4 6a2 2 0 0 1 2-2h12a2 2 0 0 1 2 2v9a2 2 0 0 1-2 2h-7l-5 4v-4a2 2 0 0 1-2-2z",
  clip: "M20 11l-8.500 8.500a5 5 0 0 1-7-7L13 4a3.500 3.500 0 0 1 5 5l-8.500 8.500a2 2 0 0 1-3-3L14 7",
  mic: "M12 15a3 3 0 0 0 3-3V6a3 3 0 0 0-6 0v6a3 3 0 0 0 3 3zM6 11v1a6 6 0 0 0 12 0v-1M12 18v3",
  play: "M8 5l11 7-11 7z",
  pause: "M8 5v14M16 5v14",
  download: "M12 4v11M7 11l5 5 5-5M5 20h14",
  file: "M6 3h8l4 4v14H6zM14 3v5h4",
  theme: "M12 3a9 9 0 1 0 0 18zM12 3a9 9 0 0 1 0 18",
  globe: "M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18zM3 12h18M12 3c5 5 5 13 0 18M12 3c-5 5-5 13 0 18",
};

/** A decorative icon; what it means is said by its button's label. */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("class", `icon icon-${name}`);
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", PATHS[name]);
  svg.append(path);
  return svg;
}

/** A button that shows only an icon. */
export function iconButton(name, label, onclick, props = {}) {
  return h("button.icon-button", { type: "button", "aria-label": label, title: label, onclick, ...props }, icon(name));
}

/** Runs `act` at most once per frame however often it is asked. */
export function perFrame(act) {
  let asked = false;
  return () => {
    if (asked) return;
    asked = true;
    const run = () => {
      if (!asked) return;
      asked = false;
      act();
    };
    // A hidden tab has no frames; its page should be right all the same when it is looked at.
    if (document.visibilityState === "hidden") setTimeout(run);
    else requestAnimationFrame(run);
  };
}

/** Tells a screen reader something that happened elsewhere on the screen. */
export function announce(text) {
  document.getElementById("announcer").textContent = text;
}
