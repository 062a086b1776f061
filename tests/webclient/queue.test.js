import assert from "node:assert/strict";
import { test } from "node:test";
import { MemoryStorage, SendQueue } from "../../packages/chat-server/src/chat_server/webclient/chat-client.js";

const message = (ref, conversation = "c", text = ref) => ({ ref, conversation, kind: "text", body: { text } });
const queueOn = (storage, tab = "tab1") => new SendQueue(storage, { user: "ada", tab });
const refs = (entries) => entries.map(({ ref }) => ref);

test("one at a time per conversation, in order", () => {
  const queue = queueOn(new MemoryStorage());
  for (const [ref, room] of [["a1", "a"], ["a2", "a"], ["b1", "b"]]) queue.add(message(ref, room), 0);
  assert.deepEqual(refs(queue.take(0)), ["a1", "b1"]);
  assert.deepEqual(refs(queue.take(0)), []);
  queue.sent("a1", { seq: 1, rev: 1 });
  assert.deepEqual(refs(queue.take(0)), ["a2"]);
});

test("the same ref twice is one message", () => {
  const queue = queueOn(new MemoryStorage());
  queue.add(message("r"), 0);
  queue.add(message("r"), 1);
  assert.deepEqual(refs(queue.take(2)), ["r"]);
  assert.equal(queue.of("c").length, 1);
});

test("survives a reload in order, until the receipt", async () => {
  const storage = new MemoryStorage();
  const before = queueOn(storage);
  for (const ref of ["1", "2", "3"]) before.add(message(ref), 1000);
  before.take(1000);
  before.sent("1", { seq: 1, rev: 1 });
  const after = queueOn(storage, "tab2");
  after.add(message("4"), 1000); // written before the old ones were read
  await after.adopt();
  assert.deepEqual(refs(after.of("c")), ["2", "3", "4"]);
  assert.deepEqual(refs(after.take(1001)), ["2"]);
});

test("leaves alone what a living tab owns, and other users' messages", async () => {
  const storage = new MemoryStorage();
  queueOn(storage, "alive").add(message("theirs"), 0);
  queueOn(storage, "dead").add(message("left behind"), 0);
  new SendQueue(storage, { user: "bob", tab: "dead" }).add(message("bob's"), 0);
  const queue = queueOn(storage, "new");
  await queue.adopt(new Set(["alive"]));
  assert.deepEqual(refs(queue.of("c")), ["left behind"]);
});

test("a passing error waits and keeps its place; what is behind waits too", () => {
  const queue = queueOn(new MemoryStorage());
  queue.add(message("1"), 0);
  queue.add(message("2"), 0);
  queue.take(0);
  queue.refused("1", { code: "rate_limited", retryAfter: 2 }, 0);
  assert.deepEqual(refs(queue.take(1999)), []);
  assert.ok(queue.deadline() >= 2000 && queue.deadline() <= 2500);
  assert.deepEqual(refs(queue.take(2500)), ["1"]);
});

test("a final error fails one message and lets the next pass; retry keeps the ref", async () => {
  const storage = new MemoryStorage();
  const queue = queueOn(storage);
  queue.add(message("1"), 0);
  queue.add(message("2"), 0);
  queue.take(0);
  queue.refused("1", { code: "not_permitted", message: "muted" }, 0);
  assert.deepEqual(refs(queue.take(0)), ["2"]);
  const reloaded = queueOn(storage, "tab2");
  await reloaded.adopt();
  assert.equal(reloaded.entries.get("1").state, "failed");
  queue.retry("1", 10);
  queue.sent("2", { seq: 1, rev: 1 });
  assert.deepEqual(refs(queue.take(10)), ["1"]);
});

test("an entry is kept when the storage says so, and not before", async () => {
  const answers = [];
  const storage = { load: async () => [], put: () => new Promise((answer) => answers.push(answer)), delete: () => {} };
  const told = [];
  const queue = new SendQueue(storage, { user: "ada", tab: "t", kept: ({ ref, kept }) => told.push([ref, kept]) });
  const first = queue.add(message("1"), 0);
  queue.add(message("2"), 0);
  assert.equal(first.kept, undefined);
  answers[0](true);
  answers[1](false);
  await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual(told, [["1", true], ["2", false]]);
  assert.equal(queue.fleeting, true);
  queue.sent("2", { seq: 1, rev: 1 });
  assert.equal(queue.fleeting, false);
});

test("what a tab wrote itself is not taken over again by a later adoption", async () => {
  const storage = new MemoryStorage();
  const queue = queueOn(storage, "mine");
  queue.add(message("1"), 0);
  queueOn(storage, "other").add(message("left behind"), 1);
  const adoption = queue.adopt();
  queue.seen("1"); // acknowledged while the storage was read
  await adoption;
  assert.deepEqual(refs(queue.of("c")), ["left behind"]);
  assert.equal(storage.rows.get("left behind").tab, "mine");
});

test("a receipt after the echo, and an error after the receipt, change nothing", () => {
  const queue = queueOn(new MemoryStorage());
  queue.add(message("1"), 0);
  queue.take(0);
  queue.seen("1");
  queue.sent("1", { seq: 1, rev: 1 });
  queue.refused("1", { code: "invalid" }, 0);
  assert.deepEqual(queue.of("c"), []);
});
