/** Telling of messages outside the page: the title, the icon's badge, a notification, a sound. Never asked for at load. */
import { nameOf, summaryOf, titleOf } from "./people.js";
import { preview } from "../chat-client.js";
import { open } from "./route.js";
import { settings } from "./settings.js";
import { t } from "./words.js";

/** granted, denied, default (not asked yet) or unsupported. */
export function mayNotify() {
  return globalThis.Notification ? Notification.permission : "unsupported";
}

/** Only from a press: browsers let a page ask at no other time. */
export async function askToNotify() {
  return globalThis.Notification ? Notification.requestPermission() : "unsupported";
}

/** Shows one; a later one of the same conversation takes its place. */
async function show(title, options, act) {
  const registration = await navigator.serviceWorker?.getRegistration().catch(() => undefined);
  try {
    if (registration?.active) return await registration.showNotification(title, options);
    const notification = new Notification(title, options);
    notification.onclick = () => {
      globalThis.focus();
      act?.();
      notification.close();
    };
  } catch {
    // phones have notifications by the worker alone
  }
  return undefined;
}

/** Tells of what is said for as long as the session lives. */
export function notifyFor(desk) {
  const { client } = desk;
  const told = new Map(); // conversation → seq: a new state of an old message is no news
  desk.listen("message", (message) => {
    const { conversation: id, sender, seq, recalled, mentions = [] } = message;
    if (sender === client.me.user || recalled || seq <= (told.get(id) ?? 0)) return;
    told.set(id, seq);
    const one = client.conversation(id);
    if (!one || one.muted || seq < one.head.seq || (document.visibilityState === "visible" && document.hasFocus())) return;
    const named = one.kind === "direct" || mentions.includes("@all") || mentions.includes(client.me.user);
    if (settings.notify === "none" || (settings.notify === "mentions" && !named)) return;
    if (settings.sound === "on") chime();
    if (mayNotify() !== "granted") return;
    const text = summaryOf(client, preview(message));
    const body = one.kind === "group" ? `${nameOf(client, sender)}: ${text}` : text;
    show(titleOf(client, one), { body, tag: id, renotify: true, icon: "static/icon.svg", data: { conversation: id, seq } }, () => open(id, undefined));
  });
  desk.notifyTest = () => show(t("name"), { body: t("notify.works"), tag: "test" });
}

/** The number of unread messages where one sees it without the page. */
export function count(unread) {
  document.title = unread > 0 ? `(${unread > 999 ? "999+" : unread}) ${t("name")}` : t("name");
  if (unread > 0) navigator.setAppBadge?.(unread)?.catch(() => {});
  else navigator.clearAppBadge?.()?.catch(() => {});
}

let audio;

/** Two short tones, made here: no file to load. */
function chime() {
  try {
    audio ??= new AudioContext();
    const gain = audio.createGain();
    gain.connect(audio.destination);
    gain.gain.setValueAtTime(0.08, audio.currentTime);
    gain.gain.exponentialRampToValueAtTime(0.0001, audio.currentTime + 0.35);
    for (const [frequency, after] of [[660, 0], [880, 0.12]]) {
      const tone = audio.createOscillator();
      tone.frequency.value = frequency;
      tone.connect(gain);
      tone.start(audio.currentTime + after);
      tone.stop(audio.currentTime + after + 0.2);
    }
  } catch {
    // a page that was never touched may make no sound
  }
}
