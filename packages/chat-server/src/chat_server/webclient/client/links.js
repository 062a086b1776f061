/** Finds links in text: `[{from, to, href}]`. One pass, no backtracking. */
const BEGIN = /https?:\/\/|(?<![A-Za-z0-9.@/_-])www\.(?=[\p{L}\p{N}])/giu;
const STOP = /[\s<>"`\p{Cc}。，、；：！？（）【】《》〈〉「」『』〔〕“”‘’…—～｜]/u; // never part of a link
const WIDE = /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}]/u;
const BEFORE_WIDE = /[/=#?&%_.~+-]/; // after these, wide characters are part of the path: /wiki/中文
const PAIRS = { ")": "(", "]": "[", "}": "{" };

/** @param {string} text */
export function links(text) {
  const found = [];
  let past = 0;
  for (const match of text.matchAll(BEGIN)) {
    if (match.index < past) continue;
    const from = match.index;
    const host = from + (match[0].endsWith("//") ? match[0].length : 0);
    let to = host;
    let wide = false; // inside a run of wide characters that belongs to the link
    let slash = false;
    const open = { "(": 0, "[": 0, "{": 0 };
    let keep = host; // the end, without punctuation that ends a sentence
    for (const character of text.slice(host)) {
      if (STOP.test(character)) break;
      if (WIDE.test(character)) {
        const before = text[to - 1];
        if (!wide && !(slash ? BEFORE_WIDE.test(before) : to === host || before === ".")) break;
        wide = true;
      } else wide = false;
      if ("/?#".includes(character)) slash = true;
      if (character in open) open[character] += 1;
      const opened = PAIRS[character];
      if (opened) {
        if (open[opened] === 0) break;
        open[opened] -= 1;
      }
      to += character.length;
      if (!".,!?;:'*~".includes(character) || (character === "*" && text[to - 2] === "=")) keep = to;
    }
    past = to;
    const shown = text.slice(from, keep);
    const href = host === from ? `https://${shown}` : shown;
    if (keep > host && URL.canParse(href)) found.push({ from, to: keep, href });
  }
  return found;
}
