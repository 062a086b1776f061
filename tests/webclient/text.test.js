/** Links, marks, mentions and emoji of a text: pure functions of the page. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { coloured, isEmojiOnly, sameEmoji, search } from "../../packages/chat-server/src/chat_server/webclient/app/text/emoji.js";
import { links } from "../../packages/chat-server/src/chat_server/webclient/client/links.js";
import { isMarked, parse, plain, plainPieces } from "../../packages/chat-server/src/chat_server/webclient/client/markup.js";
import { asked, fromWire, guessed, matches, moved, toWire, trimmed, typedByHand } from "../../packages/chat-server/src/chat_server/webclient/app/text/mentions.js";

const shared = (name) => JSON.parse(readFileSync(new URL(`../shared/${name}.json`, import.meta.url), "utf-8"));
const quick = (act, most = 200) => {
  const began = performance.now();
  act();
  assert.ok(performance.now() - began < most, "took too long");
};

for (const { name, text, links: wanted } of shared("links")) {
  test(`links: ${name}`, () => {
    const found = links(text);
    assert.deepEqual(found.map(({ href }) => href), wanted.map((one) => (/^www\./i.test(one) ? `https://${one}` : one)));
  });
}

const drawn = (nodes) =>
  nodes
    .map((one) => {
      if (typeof one === "string") return one;
      const tag = { bold: "b", italic: "i", strike: "s", code: "c", link: "l", mention: "m" }[one.type];
      return `<${tag}>${one.text ?? drawn(one.children)}</${tag}>`;
    })
    .join("");
// Left as they are: nobody pairs three marks, a face of marks may lose an arm, and a link may not end in a star.
const OPEN = new Set(["***x***", "https://a.example.com/*a*", "¯\\_(ツ)_/¯", ":_) and :_("]);
for (const { text, tree } of shared("markup")) {
  if (OPEN.has(text)) continue;
  test(`markup: ${text}`, () => assert.equal(drawn(parse(text).flatMap(({ children }) => children)), tree));
}

test("the text without its marks, the same cases", () => {
  for (const { text, tree } of shared("markup")) if (!OPEN.has(text) && text !== "<b>x</b>") assert.equal(plain(text), tree.replaceAll(/<\/?[biscl]>/g, ""), text);
});

test("blocks: a fence with its language, a quote, lists, and what is no list", () => {
  const blocks = parse("see\n```js\nlet a = `1`; // https://a.example.com/*x*\n```\n> quoted **b**\n> more\n- one\n- two\n3. three\n1)no");
  assert.deepEqual(
    blocks.map(({ type, lang, text, children, items, start }) => [type, lang ?? start, text ?? (items ?? [children]).map(drawn)]),
    [
      ["text", undefined, ["see"]],
      ["code", "js", "let a = `1`; // https://a.example.com/*x*"],
      ["quote", undefined, ["quoted <b>b</b>\nmore"]],
      ["bullets", 1, ["one", "two"]],
      ["numbers", 3, ["three"]],
      ["text", undefined, ["1)no"]],
    ],
  );
});

test("links and mentions are found inside marks, and no mark is found inside them", () => {
  const text = "**see https://a.example.com/_x_ @_Ann_**";
  const from = text.indexOf("@");
  assert.equal(drawn(parse(text, [{ from, to: from + 6, user: "a" }])[0].children), "<b>see <l>https://a.example.com/_x_</l> <m>@_Ann_</m></b>");
  assert.equal(drawn(plainPieces("@Ann www.example.org", [{ from: 0, to: 4, user: "a" }])), "<m>@Ann</m> <l>www.example.org</l>");
});

test("plain text of a markup, and what is none", () => {
  assert.equal(plain("**a** `b`\n> c\n- d"), "a b\nc\nd");
  assert.ok(isMarked("a **b**") && isMarked("```\nx\n```") && isMarked("> q"));
  assert.ok(!isMarked("2*3*4 snake_case https://a.example.com/*a*"));
});

test("hostile texts are read in little time", () => {
  for (const text of [".".repeat(8192), `https://a.example.com/${".".repeat(8000)}`, "https://".repeat(1000), "(".repeat(8192), "@".repeat(8192), "*_".repeat(4096), "> ".repeat(4096), "`".repeat(8192), "- a\n".repeat(2000), "http://a ".repeat(900)]) {
    quick(() => links(text));
    quick(() => parse(text));
    quick(() => typedByHand(text, [], [{ user: "a", name: "Ann" }]));
    quick(() => isEmojiOnly(text));
  }
});

test("mentions: ranges move with the text around them and end when they are touched", () => {
  const one = [{ from: 3, to: 7, user: "a" }];
  assert.deepEqual(moved(one, "hi @Ann!", "hi @Ann, you!"), one);
  assert.deepEqual(moved(one, "hi @Ann!", "oh hi @Ann!"), [{ from: 6, to: 10, user: "a" }]);
  assert.deepEqual(moved(one, "hi @Ann!", "hi @An!"), []);
  assert.deepEqual(moved(one, "hi @Ann!", ""), []);
  assert.deepEqual(trimmed("  hi @Ann ", [{ from: 5, to: 9, user: "a" }]), { text: "hi @Ann", mentions: [{ from: 3, to: 7, user: "a" }] });
});

test("mentions: asked for after a blank, a bracket, punctuation, a Chinese character, by both signs; not inside a word", () => {
  for (const text of ["@", "hi @", "你好@", "，@", "(@", "（＠", "あ@", "a,@"]) assert.ok(asked(text, text.length), text);
  for (const text of ["a@", "me@example", "1@"]) assert.equal(asked(text, text.length), undefined, text);
  assert.deepEqual(asked("你好＠小 x", 4), { from: 2, query: "小" });
});

test("mentions: any word of a name is matched", () => {
  assert.ok(matches("Ada Lovelace", "lo") && matches("Ada Lovelace", "ada l") && matches("小明", "明") && matches("Ada", ""));
  assert.ok(!matches("Ada Lovelace", "ve"));
});

test("mentions: typed by hand they count where one person has that name, the longest name first", () => {
  const people = [{ user: "1", name: "Ann" }, { user: "2", name: "Ann Lee" }, { user: "3", name: "Bo" }, { user: "4", name: "Bo" }];
  assert.deepEqual(typedByHand("@Ann Lee and @Ann, @Bo, @Anna", [], people), [{ from: 0, to: 8, user: "2" }, { from: 13, to: 17, user: "1" }]);
  assert.deepEqual(typedByHand("@Ann", [{ from: 0, to: 4, user: "9" }], people), [{ from: 0, to: 4, user: "9" }]);
});

test("mentions: on the wire they count code points, and what is no range of the text is left out", () => {
  const text = "🎉 @小明 ok";
  const here = [{ from: 3, to: 6, user: "m" }];
  const wire = toWire(text, here);
  assert.deepEqual(wire, [{ type: "mention", offset: 2, length: 3, user: "m" }]);
  assert.deepEqual(fromWire(text, wire), here);
  assert.deepEqual(fromWire(text, [{ type: "mention", offset: 2, length: 99, user: "m" }, { type: "mention" }, null, 7, { type: "mention", offset: 0, length: 2, user: "a" }, { type: "mention", offset: 1, length: 2, user: "b" }]), [{ from: 0, to: 3, user: "a" }]);
  assert.deepEqual(fromWire(text, "no list"), []);
});

test("mentions: of a body without ranges each name is guessed once, everybody in any language", () => {
  assert.deepEqual(guessed("@所有人 and @Ann", [{ user: "@all", names: ["everyone", "所有人"] }, { user: "a", names: ["Ann"] }]), [{ from: 0, to: 4, user: "@all" }, { from: 9, to: 13, user: "a" }]);
});

test("emoji: alone they are large, with their colour, and one emoji is one however it is spelt", () => {
  for (const text of ["🎉", "❤", "❤️❤️", "👨‍👩‍👧 👍🏽", "🇨🇳", "1️⃣"]) assert.ok(isEmojiOnly(text), text);
  for (const text of ["", "a", "🎉!", "12", "🎉🎉🎉🎉", "©", "→"]) assert.ok(!isEmojiOnly(text), text);
  assert.equal(coloured("❤"), "❤️");
  assert.equal(coloured("🎉"), "🎉");
  assert.ok(sameEmoji("❤", "❤️"));
});

test("emoji: found by name and tag in both languages", () => {
  const list = (language) => JSON.parse(readFileSync(new URL(`../../packages/chat-server/src/chat_server/webclient/vendor/emoji-${language}.json`, import.meta.url), "utf-8")).map(([group, emoji, name, tags]) => ({ group, emoji, name, tags }));
  const zh = list("zh");
  for (const [query, emoji] of [["爱心", "❤️"], ["强", "👍️"], ["加油", "💪"], ["抱拳", "🙏"], ["666", "👍️"], ["红包", "🧧"], ["生日", "🎂"], ["捂脸", "🤦"]]) {
    assert.ok(search(zh, query).slice(0, 30).some((one) => sameEmoji(one.emoji, emoji)), query);
  }
  assert.ok(search(list("en"), "thumbs").some(({ emoji }) => sameEmoji(emoji, "👍")));
});
