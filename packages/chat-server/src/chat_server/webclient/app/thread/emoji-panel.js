/** The emoji picker: recent ones, groups, a search in the page's language; one list however long. */
import { useEffect, useRef, useState } from "../../vendor/preact.js";
import { settings } from "../settings.js";
import { emojiList, search } from "../text/emoji.js";
import { h, icon, useListener } from "../views/h.js";
import { language, t } from "../words.js";

const COLUMNS = 8;
const GROUPS = [0, 1, 3, 4, 5, 6, 7, 8, 9];
const SIGNS = { 0: "😀", 1: "👋", 3: "🐱", 4: "🍎", 5: "✈️", 6: "⚽", 7: "💡", 8: "❤️", 9: "🏁" };
const FOUND = 80;

/** @param pick called with the emoji; @param close called when the picker is to go away */
export function EmojiPanel({ pick, close, kind = "" }) {
  const panel = useRef();
  const [list, setList] = useState();
  const [query, setQuery] = useState("");
  const [group, setGroup] = useState(settings.recent.length ? "recent" : 0);
  useEffect(() => {
    let current = true;
    emojiList(language.peek()).then(
      (all) => current && setList(all),
      () => current && setList([]),
    );
    panel.current.querySelector("input").focus({ preventScroll: true });
    return () => (current = false);
  }, []);
  useListener(document, "pointerdown", (event) => !panel.current?.contains(event.target) && !event.target.closest?.("[aria-expanded=true]") && close(), true);
  const recent = settings.recent.map((emoji) => list?.find((one) => one.emoji === emoji) ?? { emoji, name: emoji });
  const shown = !list ? [] : query.trim() ? search(list, query.trim()).slice(0, FOUND) : group === "recent" ? recent : list.filter((one) => one.group === group);
  const take = (emoji) => {
    settings.used(emoji);
    pick(emoji);
  };
  const grid = () => [...panel.current.querySelectorAll(".emoji")];
  function onkeydown(event) {
    if (event.key === "Escape") {
      event.stopPropagation();
      event.preventDefault();
      return close();
    }
    const all = grid();
    const at = all.indexOf(document.activeElement);
    if (at < 0) {
      if (event.key === "ArrowDown") {
        event.preventDefault();
        all[0]?.focus();
      } else if (event.key === "Enter" && event.target.matches("input")) {
        event.preventDefault();
        if (shown[0]) take(shown[0].emoji);
      }
      return undefined;
    }
    const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -COLUMNS, ArrowDown: COLUMNS }[event.key];
    if (!step) return undefined;
    event.preventDefault();
    if (at + step < 0) panel.current.querySelector("input").focus();
    else all[at + step]?.focus();
    return undefined;
  }
  return h(
    `div.emoji-panel${kind}`,
    { ref: panel, role: "dialog", "aria-label": t("emoji"), onkeydown },
    h("input", { type: "search", placeholder: t("emoji.search"), "aria-label": t("emoji.search"), value: query, oninput: (event) => setQuery(event.target.value) }),
    !query &&
      h(
        "div.emoji-groups",
        { role: "group", "aria-label": t("emoji.groups") },
        recent.length > 0 && h("button.emoji-group", { type: "button", "aria-pressed": String(group === "recent"), "aria-label": t("emoji.recent"), onclick: () => setGroup("recent") }, icon("clock")),
        GROUPS.map((one) => h("button.emoji-group", { key: one, type: "button", "aria-pressed": String(group === one), "aria-label": t(`emoji.${one}`), title: t(`emoji.${one}`), onclick: () => setGroup(one) }, SIGNS[one])),
      ),
    h(
      "div.emoji-grid",
      { key: query ? "found" : group },
      shown.map(({ emoji, name }, index) => h("button.emoji", { key: emoji, type: "button", tabindex: index === 0 ? 0 : -1, title: name, "aria-label": `${emoji} ${name}`, onclick: () => take(emoji) }, emoji)),
      list && shown.length === 0 && h("p.list-hint", t("emoji.none")),
    ),
  );
}
