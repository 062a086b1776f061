/** What counts as an emoji, and the list that the picker offers. */

const segmenter = new Intl.Segmenter();
const ONE = /^(?:\p{Extended_Pictographic}|\p{Regional_Indicator}{2}|[0-9#*]\ufe0f?\u20e3)/u;
const LETTER = /^[©®™〰〽㊗㊙‼⁉ℹ↔-↪]$/u; // pictographic by the table, letters by use

/** One to three emoji and nothing else: they are drawn large. */
export function isEmojiOnly(text) {
  if (text.length > 60) return false;
  const parts = [...segmenter.segment(text)].map(({ segment }) => segment).filter((part) => part.trim());
  return parts.length > 0 && parts.length <= 3 && parts.every((part) => ONE.test(part) && !LETTER.test(part));
}

/** Without the sign that asks for colours the same emoji may look black and white: it is added. */
export function coloured(emoji) {
  return /^\p{Extended_Pictographic}$/u.test(emoji) && !/^\p{Emoji_Presentation}$/u.test(emoji) ? `${emoji}\ufe0f` : emoji;
}

/** Two spellings of one emoji (with and without that sign) are the same reaction. */
export function sameEmoji(one, other) {
  return one.replaceAll("\ufe0f", "") === other.replaceAll("\ufe0f", "");
}

const lists = new Map(); // language → promise

/** `[{group, emoji, name, tags, skins}]` in one language, read once. */
export function emojiList(language) {
  if (!lists.has(language)) {
    const loading = fetch(new URL(`../../vendor/emoji-${language}.json`, import.meta.url))
      .then((answer) => (answer.ok ? answer.json() : Promise.reject(new Error(`${answer.status}`))))
      .then((rows) => rows.map(([group, emoji, name, tags, skins]) => ({ group, emoji, name, tags, skins })));
    loading.catch(() => lists.delete(language)); // asked again at the next opening
    lists.set(language, loading);
  }
  return lists.get(language);
}

/** Those whose name or tags begin with every word of the query; names first. */
export function search(list, query) {
  const words = query.toLowerCase().split(/\s+/u).filter(Boolean);
  const rank = ({ name, tags, emoji }) => {
    const said = `${name} ${tags}`.toLowerCase();
    if (emoji === query) return 0;
    if (name.toLowerCase() === words.join(" ") || tags.split(" ").includes(words.join(" "))) return 1;
    if (words.every((word) => said.split(" ").some((part) => part.startsWith(word)))) return 2;
    return words.every((word) => said.includes(word)) ? 3 : 4;
  };
  return list
    .map((one) => ({ one, rank: rank(one) }))
    .filter(({ rank: found }) => found < 4)
    .sort((a, b) => a.rank - b.rank)
    .map(({ one }) => one);
}
