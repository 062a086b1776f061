/** The page: log in, then the chat, then perhaps somebody else. */
import { ChatClient } from "../chat-client.js";
import { Drafts } from "./drafts.js";
import { App } from "./app.js";
import { Desk } from "./desk.js";
import { Login } from "./login.js";
import { count } from "./notify.js";
import { stopPushing } from "./push.js";
import { apply, device, onTokenChange, settings } from "./settings.js";
import { closeOverlays, h } from "./views/h.js";
import { guardComposition } from "./views/keys.js";
import { render } from "../vendor/preact.js";
import { startWorker } from "./worker.js";
import { speak, t } from "./words.js";

const root = document.getElementById("app");
const socketUrl = new URL("ws", document.baseURI);
socketUrl.protocol = socketUrl.protocol.replace("http", "ws");
socketUrl.hash = socketUrl.search = "";

/** So long the server is waited for at a logout. */
const PATIENCE = 2000;
/** The close codes after which the token is good for nothing: logged out, banned, ended by another device or login. */
const LOGIN_ENDED = new Set([4401, 4403, 4409]);

guardComposition();
startWorker();
apply();
speak();
onTokenChange((before, after) => {
  if (!before !== !after) location.reload(); // logged in or out in another tab; a mere renewal changes nothing here
});
run();

/** One session after the other; nothing of one is left when the next begins. */
async function run(notice) {
  for (let why = notice; ; ) {
    const token = settings.token ?? (await loggedIn(why));
    settings.token = token;
    why = await chat(token);
  }
}

function loggedIn(notice) {
  return new Promise((resolve) => draw(h(Login, { key: "login", url: socketUrl.href, notice, done: resolve })));
}

/** Until this session ends; resolves to what is said on the login page. */
async function chat(token) {
  const client = new ChatClient({ url: socketUrl.href, token, device: device() });
  draw(h(Splash, { key: "splash", text: t("loading") }));
  const over = new Promise((resolve) => client.on("over", resolve));
  client.on("push", ({ event, data }) => {
    if (event === "token") settings.token = data.token;
  });
  let desk;
  const stop = client.on("welcome", () => {
    stop();
    desk = new Desk(client);
    draw(h(App, { key: "app", desk, logout: () => logout(client) }));
  });
  client.start();
  const { code } = await over;
  const user = desk?.user;
  closeOverlays();
  draw(h(Splash, { key: "over", text: "" })); // what the session's views opened closes with them
  desk?.close();
  client.stop();
  count(0);
  if (LOGIN_ENDED.has(code)) {
    settings.token = undefined;
    stopPushing().catch(() => {});
    if (user) Drafts.forget(user);
    return t(`over.${code}`);
  }
  await pressed(t("over.other", code));
  return undefined;
}

function pressed(text) {
  return new Promise((resolve) => draw(h(Splash, { key: "ended", text, act: resolve })));
}

function Splash({ text, act }) {
  return h(
    "main.splash",
    h("img", { src: "static/icon.svg", alt: "", width: 72, height: 72 }),
    h("p", { role: act ? "alert" : "status" }, text),
    act && h("button.primary", { type: "button", onclick: act }, t("over.again")),
  );
}

async function logout(client) {
  Drafts.forget(client.me.user);
  settings.token = undefined;
  try {
    const ended = Promise.all([client.call("auth.logout"), stopPushing()]);
    await Promise.race([ended, new Promise((resolve) => setTimeout(resolve, PATIENCE))]);
  } catch {
    // the server may have ended the session first
  }
  location.hash = "";
  location.reload();
}

function draw(view) {
  render(view, root);
}
