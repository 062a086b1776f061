/** What this browser remembers: token, device id, theme, language. */
import { newRef } from "../chat-client.js";

const PREFIX = "interesting-chat.";

function read(key) {
  try {
    return localStorage.getItem(PREFIX + key) ?? undefined;
  } catch {
    return undefined; // a browser that forbids storage: everything lasts as long as the page
  }
}

function write(key, value) {
  try {
    if (value === undefined) localStorage.removeItem(PREFIX + key);
    else localStorage.setItem(PREFIX + key, value);
  } catch {
    // see read
  }
}

export const settings = {
  get token() {
    return read("token");
  },
  set token(value) {
    write("token", value);
  },
  get theme() {
    return read("theme") ?? "auto";
  },
  set theme(value) {
    write("theme", value);
    applyTheme();
  },
  get language() {
    return read("language") ?? "auto";
  },
  set language(value) {
    write("language", value);
  },
};

export function applyTheme() {
  const { theme } = settings;
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
}

/** Calls back with the token before and after, when another tab has changed it. */
export function onTokenChange(changed) {
  addEventListener("storage", ({ key, oldValue, newValue }) => key === `${PREFIX}token` && changed(oldValue, newValue));
}

/** One device per browser: its tabs are sessions of the same device. */
export function device() {
  let id = read("device");
  if (!id) {
    id = newRef();
    write("device", id);
  }
  return { id, platform: "web", name: browserName() };
}

function browserName() {
  const agent = navigator.userAgent;
  const browser = ["Edg", "OPR", "Firefox", "Chrome", "Safari"].find((name) => agent.includes(`${name}/`)) ?? "Browser";
  const system = ["Android", "iPhone", "iPad", "Windows", "Mac OS", "Linux"].find((name) => agent.includes(name));
  const shown = { Edg: "Edge", OPR: "Opera" }[browser] ?? browser;
  return system ? `${shown} on ${system}` : shown;
}
