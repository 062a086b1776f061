/** Every word the page shows, in English and Chinese, and how times, sizes and errors are written. */
import { signal } from "../vendor/preact.js";
import { settings } from "./settings.js";
import { dayOf } from "./text/days.js";
import en from "./words/en.js";
import zh from "./words/zh.js";

const WORDS = { en, zh };

/** The language of the page; who draws words is drawn again when it changes. */
export const language = signal(wanted());

function wanted() {
  const chosen = settings.language === "auto" ? navigator.language : settings.language;
  return chosen.toLowerCase().startsWith("zh") ? "zh" : "en";
}

/** Takes the language that was chosen. */
export function speak() {
  language.value = wanted();
  document.documentElement.lang = language.peek() === "zh" ? "zh" : "en";
  formats = undefined;
}

const words = () => WORDS[language.peek()];

export function t(key, ...args) {
  const word = words()[key];
  return typeof word === "function" ? word(...args) : (word ?? key);
}

export function has(key) {
  return Object.hasOwn(words(), key);
}

/** A word in every language, for what somebody may have written in another one. */
export function inEveryLanguage(key) {
  return Object.values(WORDS).map((all) => all[key]);
}

// ---- times ----

let formats;

function format() {
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  if (formats?.zone === zone) return formats;
  const locale = language.peek() === "zh" ? "zh-CN" : navigator.language.startsWith("en") ? navigator.language : "en";
  const of = (options) => new Intl.DateTimeFormat(locale, options);
  formats = {
    zone,
    clock: of({ hour: "2-digit", minute: "2-digit" }),
    weekday: of({ weekday: "long", day: "numeric", month: "long" }),
    day: of({ day: "numeric", month: "long", year: "numeric" }),
    shortWeekday: of({ weekday: "short" }),
    shortDay: of({ day: "numeric", month: "numeric", year: "2-digit" }),
    full: of({ dateStyle: "full", timeStyle: "medium" }),
    moment: of({ dateStyle: "medium", timeStyle: "short" }),
    ago: new Intl.RelativeTimeFormat(locale, { numeric: "auto" }),
    list: new Intl.ListFormat(locale, { type: "conjunction" }),
    order: new Intl.Collator(locale === "zh-CN" ? "zh" : locale),
  };
  return formats;
}

export const clock = (time) => format().clock.format(time);
export const fullTime = (time) => format().full.format(time);
export const listOf = (names) => format().list.format(names);
export const byName = (one, other) => format().order.compare(one, other);

/** The name of a day line. */
export function dayName(time) {
  const ago = dayOf(Date.now()) - dayOf(time);
  if (ago === 0) return t("today");
  if (ago === 1) return t("yesterday");
  return ago < 300 ? format().weekday.format(time) : format().day.format(time);
}

/** The time in the list: the clock today, then the day. */
export function shortTime(time) {
  const ago = dayOf(Date.now()) - dayOf(time);
  if (ago <= 0) return clock(time);
  if (ago === 1) return t("yesterday");
  return ago < 7 ? format().shortWeekday.format(time) : format().shortDay.format(time);
}

/** A moment that may lie today or elsewhere. */
export const moment = (time) => (dayOf(Date.now()) === dayOf(time) ? clock(time) : format().moment.format(time));

/** "in 2 minutes": at least a second, whole units. */
export function inTime(seconds) {
  const [count, unit] = seconds < 90 ? [seconds, "second"] : seconds < 5400 ? [seconds / 60, "minute"] : seconds < 129_600 ? [seconds / 3600, "hour"] : [seconds / 86_400, "day"];
  return format().ago.format(Math.max(1, Math.ceil(count)), unit);
}

/** "1:07" of milliseconds. */
export function lengthOf(milliseconds) {
  const seconds = Math.round(milliseconds / 1000);
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
}

export function sizeOf(bytes) {
  const units = ["B", "kB", "MB", "GB"];
  let unit = 0;
  for (; bytes >= 1000 && unit < 3; unit += 1) bytes /= 1000;
  return `${bytes >= 10 || unit === 0 ? Math.round(bytes) : bytes.toFixed(1)} ${units[unit]}`;
}

// ---- errors ----

/**
 * What to say of a refused command, by its code and field: never the server's own text, which is English and for logs.
 * @param {{code?: string, field?: string, limit?: number, retryAfter?: number, until?: number}} error
 */
export function errorText(error) {
  const { code = "internal", field, retryAfter, until } = error ?? {};
  const facts = { ...error, limit: error?.limit, time: until ? moment(until) : undefined, wait: retryAfter ? inTime(retryAfter) : undefined };
  if (code === "not_permitted" && (until || retryAfter)) return muted(until ?? Date.now() + retryAfter * 1000);
  if (code === "rate_limited" && until) return t("error.quota", clock(until));
  const last = field?.split(".").at(-1);
  for (const key of [`error.${code}.${field}`, `error.${code}.${last}`, `error.${code}`]) if (has(key)) return t(key, facts);
  return t("error.internal", facts);
}

/** More than a year ahead no date is meant. */
const muted = (until) => (until > Date.now() + 3.2e10 ? t("error.muted.ever") : t("error.muted", moment(until)));
