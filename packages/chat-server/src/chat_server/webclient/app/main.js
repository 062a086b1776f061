/** The page: log in, then a list of conversations beside the open one. */
import { ChatClient } from "../chat-client.js";
import { confirmDialog, groupDialog, promptDialog } from "./dialogs.js";
import { fill, h, icon } from "./dom.js";
import { login } from "./login.js";
import { showMenu } from "./menu.js";
import { nameOf } from "./people.js";
import { applyTheme, device, onTokenChange, settings } from "./settings.js";
import { Sidebar } from "./sidebar.js";
import { Thread } from "./thread.js";
import { language, t } from "./words.js";

const root = document.getElementById("app");
const socketUrl = new URL("ws", document.baseURI);
socketUrl.protocol = socketUrl.protocol.replace("http", "ws");
socketUrl.hash = socketUrl.search = "";

const TYPING_SHOWN = 5000;
const THEMES = ["auto", "light", "dark"];

document.documentElement.lang = language;
applyTheme();
onTokenChange((before, after) => {
  if (!before !== !after) location.reload(); // logged in or out in another tab; a mere renewal changes nothing here
});
run();

async function run(notice) {
  const token = settings.token ?? (await login(root, socketUrl.href, notice));
  settings.token = token;
  const client = new ChatClient({ url: socketUrl.href, token, device: device() });
  fill(root, h("main.splash", h("img", { src: "static/icon.svg", alt: "", width: "72", height: "72" }), h("p", { role: "status" }, t("loading"))));
  const over = new Promise((resolve) => client.on("over", resolve));
  const welcomed = new Promise((resolve) => {
    const stop = client.on("welcome", (welcome) => {
      stop();
      resolve(welcome);
    });
  });
  client.start();
  let page;
  welcomed.then(() => (page = new Page(client)));
  const { code, reason } = await over;
  page?.close();
  client.stop();
  if (code === 4409) {
    ended(t("over.4409"));
    return;
  }
  settings.token = code === 4401 || code === 4403 ? undefined : settings.token;
  if (settings.token !== undefined) ended(`${t("over.other")} (${code}${reason ? `: ${reason}` : ""})`);
  else run(t(code === 4403 ? "over.4403" : "over.4401"));
}

function ended(text) {
  fill(
    root,
    h("main.splash", h("p", { role: "alert" }, text), h("button.primary", { type: "button", onclick: () => run() }, t("over.again"))),
  );
}

class Page {
  #client;
  #thread;
  #typing = new Map(); // conversation → Map user → until
  #stops = [];
  #timer;
  #wanted;

  constructor(client) {
    this.#client = client;
    const typing = (id) => this.#typingText(id);
    this.sidebar = new Sidebar(client, typing, {
      open: (id) => this.show(id),
      openUser: (user) => this.#openUser(user),
      menu: (event) => this.#menu(event.currentTarget),
      create: (event) => this.#create(event.currentTarget),
      present: () => [...(client.conversation(this.#thread?.id)?.members?.keys() ?? [])],
    });
    this.banner = h("div.banner", { role: "status", hidden: true });
    this.main = h("main.main");
    this.body = h("div.columns", this.sidebar.element, this.main);
    fill(root, this.banner, this.body);
    const listen = (event, act) => this.#stops.push(client.on(event, act));
    listen("list", () => this.#listed());
    listen("users", () => this.#all());
    listen("presence", () => this.#all());
    listen("conversation", (id) => {
      if (id !== this.#thread?.id) return;
      this.#thread.update();
      this.sidebar.update(); // whose presence is watched
    });
    listen("messages", (id) => id === this.#thread?.id && this.#thread.update());
    listen("message", (message) => this.#came(message));
    listen("note", ({ event, data }) => event === "typing" && this.#typed(data));
    listen("state", () => this.#net());
    listen("push", ({ event, data }) => {
      if (event === "token") settings.token = data.token;
    });
    listen("reset", () => this.#close());
    this.onhash = () => this.#route();
    addEventListener("hashchange", this.onhash);
    this.onkey = (event) => this.#key(event);
    addEventListener("keydown", this.onkey);
    this.onleave = (event) => this.#client.fleeting && event.preventDefault(); // the browser asks whether to leave
    addEventListener("beforeunload", this.onleave);
    this.#empty();
    this.#route();
    this.#net();
    this.sidebar.update();
  }

  close() {
    this.#stops.forEach((stop) => stop());
    clearInterval(this.#timer);
    removeEventListener("hashchange", this.onhash);
    removeEventListener("keydown", this.onkey);
    removeEventListener("beforeunload", this.onleave);
    this.#thread?.close();
    for (const dialog of document.querySelectorAll("dialog[open]")) dialog.close();
    document.title = t("name");
  }

  // ---- which conversation is open: the address says it, so that reload and back work ----

  show(id) {
    const hash = id ? `#/${encodeURIComponent(id)}` : "#/";
    if (location.hash !== hash) location.hash = hash;
    else this.#route();
  }

  #route() {
    const id = decodeURIComponent(location.hash.replace(/^#\/?/, ""));
    this.#wanted = id || undefined;
    if (!id) {
      this.#close();
      return;
    }
    if (!this.#client.conversation(id)) {
      if (this.#client.replica.listed) this.show(undefined);
      return; // else it is opened as soon as the list has it
    }
    if (this.#thread?.id === id) return;
    if (this.#client.conversation(id).hidden) this.#client.setInbox(id, { hidden: false }).catch(() => {});
    this.#thread?.close();
    this.#thread = new Thread(this.#client, id, (one) => this.#typingText(one), { back: () => this.#back() });
    fill(this.main, this.#thread.element);
    this.body.classList.add("open");
    this.sidebar.open = id;
    this.#thread.focus();
  }

  #back() {
    this.show(undefined);
    this.sidebar.focusSearch();
  }

  #close() {
    this.#thread?.close();
    this.#thread = undefined;
    this.body.classList.remove("open");
    this.sidebar.open = undefined;
    this.#empty();
  }

  #empty() {
    fill(this.main, h("div.nothing", icon("chat"), h("p", t("chat.none")), h("p.list-hint", t("chat.none.hint"))));
  }

  // ---- what has changed ----

  #listed() {
    this.sidebar.update();
    if (this.#thread && !this.#client.conversation(this.#thread.id)) this.show(undefined);
    if (this.#wanted && this.#wanted !== this.#thread?.id) this.#route();
    this.#thread?.update();
    const unread = this.#client.list().reduce((sum, one) => sum + (one.muted ? 0 : one.unread), 0);
    document.title = unread > 0 ? `(${unread}) ${t("name")}` : t("name");
  }

  #all() {
    this.sidebar.update();
    this.#thread?.update();
  }

  #came(message) {
    this.#typing.get(message.conversation)?.delete(message.sender);
    if (message.conversation === this.#thread?.id) this.#thread.came(message);
  }

  #typed({ conversation, user }) {
    if (user === this.#client.me.user) return;
    if (!this.#typing.has(conversation)) this.#typing.set(conversation, new Map());
    this.#typing.get(conversation).set(user, Date.now() + TYPING_SHOWN);
    setTimeout(() => this.#all(), TYPING_SHOWN + 50);
    this.#all();
  }

  #typingText(id) {
    const now = Date.now();
    const users = [...(this.#typing.get(id) ?? [])].filter(([, until]) => until > now).map(([user]) => user);
    if (users.length === 0) return "";
    if (this.#client.conversation(id)?.kind === "direct") return t("typing.direct");
    return users.length === 1 ? t("typing.one", nameOf(this.#client, users[0])) : t("typing.many");
  }

  /** The banner is for a loss that lasts, not for every blink. */
  #net() {
    clearInterval(this.#timer);
    const state = this.#client.state;
    if (state === "live") {
      this.banner.hidden = true;
      return;
    }
    this.#timer = setInterval(() => {
      if (this.#client.state === "live") {
        clearInterval(this.#timer);
        return;
      }
      this.banner.hidden = false;
      fill(
        this.banner,
        h("span", navigator.onLine ? t("net.reconnecting") : t("net.offline")),
        this.#client.state === "waiting" ? h("button.link", { type: "button", onclick: () => this.#client.reconnect() }, t("net.now")) : null,
      );
    }, 700);
  }

  // ---- doing ----

  async #openUser(user) {
    try {
      this.show((await this.#client.openDirect(user.user)).id);
    } catch (error) {
      this.banner.hidden = false;
      fill(this.banner, h("span", error.message));
    }
  }

  #create(trigger) {
    showMenu(trigger, [
      { label: t("new.direct"), symbol: "chat", act: () => this.sidebar.focusSearch() },
      {
        label: t("new.group"),
        symbol: "users",
        act: async () => {
          const id = await groupDialog(this.#client);
          if (id) this.show(id);
        },
      },
    ]);
  }

  #menu(trigger) {
    const theme = THEMES[(THEMES.indexOf(settings.theme) + 1) % THEMES.length];
    showMenu(trigger, [
      { label: t("rename"), symbol: "edit", act: () => this.#rename() },
      { label: t(`theme.${theme}`), symbol: "theme", act: () => (settings.theme = theme) },
      {
        label: t("language"),
        symbol: "globe",
        act: () => {
          settings.language = language === "zh" ? "en" : "zh";
          location.reload();
        },
      },
      { label: t("logout"), symbol: "out", danger: true, act: () => this.#logout() },
    ]);
  }

  async #rename() {
    const name = await promptDialog(t("rename"), t("login.name"), this.#client.me.name, t("save"));
    if (!name || name === this.#client.me.name) return;
    try {
      await this.#client.rename(name);
    } catch (error) {
      await confirmDialog(error.message, t("ok"));
    }
  }

  async #logout() {
    settings.token = undefined;
    try {
      await Promise.race([this.#client.call("auth.logout"), new Promise((resolve) => setTimeout(resolve, 2000))]);
    } finally {
      location.hash = "";
      location.reload();
    }
  }

  #key(event) {
    if (event.key === "Escape" && this.#thread && !document.querySelector("dialog[open]")) this.#back();
    else if (event.key === "k" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      this.sidebar.focusSearch();
    }
  }
}
