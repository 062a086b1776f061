/**
 * Mentions are ranges of the text, `{from, to, user}` in UTF-16 units while one writes, and never found again by a name:
 * two people may have the same one, and anybody may change his.
 */

/** The ranges after a text was changed: those behind the change move, those that it touches are mentions no more. */
export function moved(mentions, before, after) {
  let head = 0;
  const most = Math.min(before.length, after.length);
  while (head < most && before[head] === after[head]) head += 1;
  let tail = 0;
  while (tail < most - head && before[before.length - 1 - tail] === after[after.length - 1 - tail]) tail += 1;
  const by = after.length - before.length;
  const end = before.length - tail;
  return mentions.flatMap((one) => {
    if (one.to <= head) return [one];
    if (one.from >= end) return [{ ...one, from: one.from + by, to: one.to + by }];
    return [];
  });
}

/** Of a text that is cut at both ends, as `trim` does. */
export function trimmed(text, mentions) {
  const start = text.length - text.trimStart().length;
  const short = text.trim();
  const kept = mentions.filter(({ from, to }) => from >= start && to <= start + short.length);
  return { text: short, mentions: kept.map((one) => ({ ...one, from: one.from - start, to: one.to - start })) };
}

/** What is written after "@" just before the caret, as `{from, query}`; undefined where nobody is being named. */
export function asked(text, caret) {
  const match = /(?:^|[\s([{（【「《“‘，。！？、；：,.!?;:]|[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}])[@＠]([^\s@＠]{0,30})$/u.exec(
    text.slice(0, caret),
  );
  return match ? { from: caret - match[1].length - 1, query: match[1] } : undefined;
}

/** Whether any word of the name begins as the query does; of names without blanks, any part of it. */
export function matches(name, query) {
  const wanted = query.toLowerCase();
  const known = name.toLowerCase();
  if (/[^\u0000-\u02ff]/.test(name) && known.includes(wanted)) return true;
  return known.split(/[\s._-]+/u).some((word) => word.startsWith(wanted)) || known.startsWith(wanted);
}

/**
 * Names that were typed by hand where a list was not used: "@" and a name that exactly one of the people has.
 * @param {{user: string, name: string}[]} people
 */
export function typedByHand(text, mentions, people) {
  const users = new Map(); // name → user, or undefined where several have it
  for (const { user, name } of people) users.set(name, users.has(name) ? undefined : user);
  const names = [...users.keys()].sort((one, other) => other.length - one.length);
  const all = [...mentions];
  for (const { index: from } of text.matchAll(/[@＠]/gu)) {
    if (all.some((one) => one.from <= from && from < one.to) || !asked(text, from + 1)) continue;
    const name = names.find((one) => text.startsWith(one, from + 1) && !/^[A-Za-z0-9]/.test(text.slice(from + 1 + one.length)));
    const user = name && users.get(name);
    if (user) all.push({ from, to: from + 1 + name.length, user });
  }
  return all.sort((one, other) => one.from - other.from);
}

/** On the wire ranges count code points: `{type: "mention", offset, length, user}`. */
export function toWire(text, mentions) {
  const points = (slice) => [...slice].length;
  return mentions.map(({ from, to, user }) => ({
    type: "mention",
    offset: points(text.slice(0, from)),
    length: points(text.slice(from, to)),
    user,
  }));
}

/** Anything may stand in a body that somebody else has made: what is no range of this text is left out. */
export function fromWire(text, entities) {
  if (!Array.isArray(entities)) return [];
  const points = [...text];
  const units = (count) => points.slice(0, count).join("").length;
  const found = entities
    .filter((one) => one?.type === "mention" && typeof one.user === "string" && one.offset >= 0 && one.length > 0 && one.offset + one.length <= points.length)
    .map(({ offset, length, user }) => ({ from: units(offset), to: units(offset + length), user }))
    .sort((one, other) => one.from - other.from);
  return found.filter((one, index) => index === 0 || one.from >= found[index - 1].to);
}

/**
 * Where the body says nothing of ranges (an older client, a bot): the first place of each mentioned name.
 * @param {{user: string, names: string[]}[]} people
 */
export function guessed(text, people) {
  const found = [];
  for (const { user, names } of people) {
    for (const name of [...names].sort((one, other) => other.length - one.length)) {
      const at = [`@${name}`, `＠${name}`].map((one) => text.indexOf(one)).find((one) => one >= 0);
      if (at === undefined || found.some(({ from, to }) => at < to && at + name.length + 1 > from)) continue;
      found.push({ from: at, to: at + name.length + 1, user });
      break;
    }
  }
  return found.sort((one, other) => one.from - other.from);
}
