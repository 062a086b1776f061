/** What this browser remembers: token, device id, how the page looks and behaves. Drafts and people's data do not stand here. */
import { newRef } from "../chat-client.js";
import { signal } from "../vendor/preact.js";

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

/** What can be chosen, the default first. */
export const CHOICES = {
  theme: ["auto", "light", "dark"],
  language: ["auto", "en", "zh"],
  size: ["100", "87.5", "112.5", "125"],
  density: ["normal", "compact"],
  layout: ["bubbles", "flat"],
  motion: ["auto", "less"],
  enter: ["send", "line"],
  opening: ["unread", "newest"],
  notify: ["all", "mentions", "none"],
  sound: ["off", "on"],
  push: ["on", "off"],
};

/** Changes with every choice: who draws by one reads it. */
export const changed = signal(0);

export const settings = {
  get token() {
    return read("token");
  },
  set token(value) {
    write("token", value);
  },
  /** The endpoint that the server knows of this browser. */
  get pushed() {
    return read("pushed");
  },
  set pushed(value) {
    write("pushed", value);
  },
  /** Emoji that were used last, the newest first. */
  get recent() {
    return read("recent-emoji")?.split(" ").filter(Boolean) ?? [];
  },
  used(emoji) {
    write("recent-emoji", [emoji, ...settings.recent.filter((one) => one !== emoji)].slice(0, 24).join(" "));
  },
  /** Cards of the first minutes that were closed: a list of names. */
  get dismissed() {
    return read("dismissed")?.split(" ") ?? [];
  },
  dismiss(card) {
    write("dismissed", [...new Set([...settings.dismissed, card])].join(" "));
    changed.value += 1;
  },
};

for (const [name, choices] of Object.entries(CHOICES)) {
  Object.defineProperty(settings, name, {
    get: () => (choices.includes(read(name)) ? read(name) : choices[0]),
    set: (value) => {
      write(name, value);
      apply();
      changed.value += 1;
    },
  });
}

/** Puts on the page what its style depends on. */
export function apply() {
  const { dataset, style } = document.documentElement;
  const set = (name, value, plain) => (value === plain ? delete dataset[name] : (dataset[name] = value));
  set("theme", settings.theme, "auto");
  set("density", settings.density, "normal");
  set("layout", settings.layout, "bubbles");
  set("motion", settings.motion, "auto");
  style.fontSize = settings.size === "100" ? "" : `${settings.size}%`;
}

/** Calls back with the token before and after, when another tab has changed it; choices of another tab are taken over. */
export function onTokenChange(told) {
  addEventListener("storage", ({ key, oldValue, newValue }) => {
    if (key === `${PREFIX}token`) told(oldValue, newValue);
    else if (key?.startsWith(PREFIX) && key.slice(PREFIX.length) in CHOICES) {
      apply();
      changed.value += 1;
    }
  });
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
