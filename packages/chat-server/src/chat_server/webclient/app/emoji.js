/** A small emoji picker: a grid walked with the arrows. */
import { h } from "./dom.js";
import { t } from "./words.js";

const EMOJI = [
  "😀 😃 😄 😁 😆 😅 😂 🤣 🙂 😉 😊 😇 🥰 😍 😘 😋 😜 🤪 🤗 🤔 🤨 😐 😏 😒 🙄 😬 😌 😔 😴 😷",
  "🤒 🥵 🥶 😵 🤯 😎 🤓 😕 😟 😮 😳 🥺 😢 😭 😱 😤 😡 💀 💩 👻 🤖 🙈 ❤️ 🧡 💛 💚 💙 💜 💔 💯",
  "👋 👌 ✌️ 🤞 🤙 👈 👉 👆 👇 👍 👎 ✊ 👊 👏 🙌 🤝 🙏 💪 👀 🎉 🎂 🎁 🔥 ✨ ⭐ ☀️ 🌧️ 🌈 ⚡ ❄️",
  "🍎 🍉 🍜 🍚 🍣 🥟 🍕 🍔 🍰 ☕ 🍵 🍺 🚗 🚲 ✈️ 🏠 💻 📱 📷 📎 📅 ✅ ❌ ❓ ❗ 💤 🎵 ⚽ 🏀 🐱",
]
  .join(" ")
  .split(" ");
const COLUMNS = 10;

/** @param pick called with the emoji; @param closed called when the picker goes away */
export function emojiPicker(pick, closed) {
  const buttons = EMOJI.map((emoji, index) =>
    h("button.emoji", { type: "button", tabindex: index === 0 ? "0" : "-1", onclick: () => pick(emoji) }, emoji),
  );
  const panel = h("div.emoji-panel", { role: "group", "aria-label": t("emoji") }, buttons);
  panel.addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      event.stopPropagation();
      closed();
      return;
    }
    const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -COLUMNS, ArrowDown: COLUMNS }[event.key];
    const next = buttons[buttons.indexOf(document.activeElement) + step];
    if (!next) return;
    event.preventDefault();
    document.activeElement.tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  });
  panel.focusFirst = () => buttons[0].focus();
  return panel;
}
