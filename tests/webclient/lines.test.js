/** Which rows a conversation has: groups, days, albums, and the line above what is new. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { linesOf } from "../../packages/chat-server/src/chat_server/webclient/app/thread/lines.js";

const NOON = new Date(2026, 10, 28, 12).getTime();
const MINUTE = 60_000;
const said = (seq, sender = "bob", extra = {}) => ({ message: { seq, rev: seq, sender, ref: `r${seq}`, kind: "text", body: { text: `${seq}` }, time: NOON + seq * 1000, ...extra } });
const picture = (seq, sender = "bob", extra = {}) => said(seq, sender, { kind: "image", body: { file: `f${seq}`, ...extra } });
const waiting = (ref, state = "queued") => ({ entry: { ref, kind: "text", body: { text: ref }, at: NOON + 90_000, state, kept: true } });
const rows = (list, { newFrom, before, peerRead = 0 } = {}) => linesOf(list, before?.message, { peerRead }, "me", newFrom);
const keys = (list, options) => rows(list, options).map(({ key }) => key.replace(/^day:\d+:/, "day:"));

test("one's own rows keep their key from the queue to the conversation", () => {
  const [, before] = rows([waiting("r1")]);
  const [, after] = rows([said(1, "me")]);
  assert.equal(before.key, after.key);
});

test("a group ends with another sender, after five minutes, and at what is no plain message", () => {
  const list = [said(1), said(2), said(3, "ann"), said(4, "bob", { time: NOON + 4000 }), said(5, "bob", { time: NOON + 6 * MINUTE }), said(6, "bob", { kind: "system", body: {}, time: NOON + 6 * MINUTE }), said(7, "bob", { time: NOON + 6 * MINUTE })];
  const marks = rows(list).filter(({ line }) => line).map(({ line }) => `${line.first ? "F" : "-"}${line.last ? "L" : "-"}`);
  assert.deepEqual(marks, ["F-", "-L", "FL", "FL", "FL", "FL", "FL"]);
});

test("each day has its line, also where the page above ends on another day", () => {
  const yesterday = said(1, "bob", { time: NOON - 24 * 60 * MINUTE });
  assert.deepEqual(keys([yesterday, said(2)]), ["day:1", "seq:1", "day:2", "seq:2"]);
  assert.deepEqual(keys([said(2)], { before: yesterday }), ["day:2", "seq:2"]);
  assert.deepEqual(keys([said(2)], { before: said(1) }), ["seq:2"]);
});

test("the line above what is new is drawn once, never over what is mine or on its way", () => {
  assert.deepEqual(keys([said(1), said(2), said(3)], { newFrom: 2 }), ["day:1", "seq:1", "new", "seq:2", "seq:3"]);
  assert.deepEqual(keys([said(1), said(2, "me"), said(3)], { newFrom: 2 }), ["day:1", "seq:1", "ref:r2", "new", "seq:3"]);
  assert.deepEqual(keys([said(1), waiting("x")], { newFrom: 2 }), ["day:1", "seq:1", "ref:x"]);
  assert.deepEqual(keys([said(5), said(6)], { newFrom: 2, before: said(4) }), ["seq:5", "seq:6"]); // it lies above the slice
});

test("six files after one another have no line between them", () => {
  const files = Array.from({ length: 6 }, (_, n) => said(n + 2, "bob", { kind: "file", body: { file: `f${n}` } }));
  assert.equal(keys([said(1), ...files], { newFrom: 2 }).filter((key) => key === "new").length, 1);
});

test("pictures make an album of at most nine, which its caption, a reply or a reaction ends", () => {
  const sizes = (list, options) => rows(list, options).filter(({ line }) => line).map(({ line }) => line.tiles?.length ?? 0);
  assert.deepEqual(sizes([picture(1), picture(2), picture(3)]), [3]);
  assert.deepEqual(sizes(Array.from({ length: 11 }, (_, n) => picture(n + 1))), [9, 2]);
  assert.deepEqual(sizes([picture(1), picture(2, "bob", { text: "the sea" }), picture(3)]), [2, 1]);
  assert.deepEqual(sizes([picture(1), { message: { ...picture(2).message, reactions: [{ emoji: "x", count: 1 }] } }, picture(3)]), [1, 0, 1]);
  assert.deepEqual(sizes([picture(1), picture(2), picture(3)], { newFrom: 2 }), [1, 2]);
});

test("read is what the other one has read", () => {
  const states = rows([said(1, "me"), said(2, "me"), waiting("x"), waiting("y", "failed")], { peerRead: 1 }).filter(({ line }) => line).map(({ line }) => line.state);
  assert.deepEqual(states, ["read", "sent", "queued", "failed"]);
});
