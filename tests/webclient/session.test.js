import assert from "node:assert/strict";
import { test } from "node:test";
import { Session } from "../../packages/chat-server/src/chat_server/webclient/chat-client.js";

const device = { id: "d1", platform: "test" };
const welcome = (extra = {}) => ({ op: "welcome", session: "s1", resumed: false, epoch: "e", version: 0, heartbeat: 20, limits: {}, ...extra });
const push = (n) => ({ op: "push", event: "message", data: { n } });

function live(session = new Session({ device, token: "t" }), now = 0, extra) {
  session.connected(now);
  const [hello] = session.takeFrames();
  session.receive(JSON.stringify(welcome(extra)), now);
  session.takeEvents();
  return { session, hello };
}
const say = (session, frames, now = 0) => session.receive(JSON.stringify(frames), now);

test("says hello with token and device, and nothing else before the welcome", () => {
  const session = new Session({ device, token: "t" });
  session.call("r1", "user.me", {});
  session.connected(0);
  assert.deepEqual(session.takeFrames(), [{ op: "hello", device, token: "t" }]);
  say(session, welcome());
  assert.deepEqual(session.takeFrames(), [{ op: "call", ref: "r1", command: "user.me", params: {} }]);
});

test("acknowledges cumulatively: every eight pushes, else after 200 ms", () => {
  const { session } = live();
  say(session, Array.from({ length: 7 }, (_, n) => push(n)), 10);
  assert.deepEqual(session.takeFrames(), []);
  assert.equal(session.deadline(), 210);
  session.poll(209);
  assert.deepEqual(session.takeFrames(), []);
  session.poll(210);
  assert.deepEqual(session.takeFrames(), [{ op: "ack", received: 7 }]);
  say(session, Array.from({ length: 9 }, (_, n) => push(n)), 220);
  assert.deepEqual(session.takeFrames(), [{ op: "ack", received: 15 }]);
});

test("counts lagged as one push, and neither notes nor beats", () => {
  const { session } = live();
  say(session, [{ op: "lagged" }, { op: "note", event: "typing", data: {} }, push(1), { op: "beat", version: 3 }]);
  assert.equal(session.received, 2);
  assert.deepEqual(session.takeEvents().map(({ type }) => type), ["lagged", "note", "push", "beat"]);
});

test("answers a beat in the message handler, also when nothing is new", () => {
  const { session } = live();
  say(session, { op: "beat", version: 1 });
  assert.deepEqual(session.takeFrames(), [{ op: "ack", received: 0 }]);
});

test("a hidden tab, whose timers run once a minute, neither reconnects nor stays silent", () => {
  const { session } = live();
  for (let second = 1; second <= 600; second += 1) {
    if (second % 20 === 0) say(session, { op: "beat", version: 1 }, second * 1000);
    if (second % 60 === 59) session.poll(second * 1000);
  }
  assert.equal(session.takeFrames().filter(({ op }) => op === "ack").length, 30);
  assert.deepEqual(session.takeEvents().filter(({ type }) => type === "silent"), []);
});

test("silence is doubted with a ping before it is believed", () => {
  const { session } = live();
  session.poll(29_999);
  assert.deepEqual(session.takeFrames(), []);
  session.poll(90_000); // a timer that came late, before the frames that wait behind it
  assert.deepEqual(session.takeFrames(), [{ op: "ping" }]);
  say(session, { op: "pong", server_time: 1 }, 90_010);
  session.poll(96_000);
  assert.deepEqual(session.takeEvents(), []);
  session.poll(120_010);
  assert.deepEqual(session.takeFrames(), [{ op: "ping" }]);
  session.poll(125_010);
  assert.deepEqual(session.takeEvents(), [{ type: "silent" }]);
});

test("no welcome is not waited for for ever, and not asked for by ping", () => {
  const session = new Session({ device, token: "t" });
  session.connected(0);
  assert.equal(session.deadline(), 10_000);
  session.doubt(5000);
  session.poll(10_000);
  assert.deepEqual(session.takeFrames().map(({ op }) => op), ["hello"]);
  assert.deepEqual(session.takeEvents(), [{ type: "silent" }]);
});

test("resumes with what it has, and goes on counting", () => {
  const { session } = live();
  say(session, [push(1), push(2), push(3)]);
  assert.equal(session.lost(1006), "resume");
  session.connected(1000);
  assert.deepEqual(session.takeFrames()[0].resume, { session: "s1", received: 3 });
  say(session, [welcome({ resumed: true }), push(4)], 1000);
  assert.equal(session.received, 4);
});

test("a refused resume counts from nothing, under the new session's id", () => {
  const { session } = live();
  say(session, [push(1), push(2)]);
  session.lost(1006);
  session.connected(1000);
  say(session, [welcome({ session: "s2" }), push(1)], 1000);
  assert.equal(session.received, 1);
  session.lost(1006);
  session.connected(2000);
  assert.deepEqual(session.takeFrames().find(({ op }) => op === "hello").resume, { session: "s2", received: 1 });
});

test("repeats what is unanswered, in order and under its ref, and nothing that is answered", () => {
  const { session } = live();
  session.call("a", "submit", { n: 1 });
  session.call("b", "submit", { n: 2 });
  session.call("c", "read", { n: 3 });
  say(session, { op: "reply", ref: "b", result: {} });
  session.lost(1006);
  session.call("d", "read", { n: 4 });
  session.connected(1);
  say(session, welcome({ resumed: true }), 1);
  assert.deepEqual(session.takeFrames().filter(({ op }) => op === "call").map(({ ref }) => ref), ["a", "c", "d"]);
});

test("an answer that comes twice is told once", () => {
  const { session } = live();
  session.call("a", "read", {});
  say(session, [{ op: "reply", ref: "a", result: 1 }, { op: "reply", ref: "a", result: 1 }]);
  assert.equal(session.takeEvents().length, 1);
});

for (const [code, next] of [[1001, "resume"], [1006, "resume"], [1011, "resume"], [4000, "resume"], [4001, "resume"], [4009, "resume"], [4100, "sync"], [4101, "sync"], [4400, "never"], [4401, "never"], [4403, "never"], [4409, "never"]]) {
  test(`close code ${code}: ${next}`, () => {
    const { session } = live();
    assert.equal(session.lost(code), next);
    assert.equal(session.id, next === "resume" ? "s1" : undefined);
  });
}

test("a bye decides before its close code", () => {
  const { session } = live();
  say(session, { op: "bye", code: 4000, reason: "going away", reconnect: "sync" });
  assert.equal(session.lost(4000), "sync");
});

test("the end fails every open call, once", () => {
  const { session } = live();
  session.call("a", "read", {});
  say(session, { op: "bye", code: 4401, reason: "logged out", reconnect: "never" });
  session.lost(4401);
  assert.deepEqual(session.takeEvents(), [
    { type: "error", ref: "a", error: { code: "closed", message: "logged out" } },
    { type: "over", code: 4401, reason: "logged out" },
  ]);
});

test("what a later version adds is passed over", () => {
  const { session } = live();
  say(session, [{ op: "weather", sun: true }, push(1)]);
  assert.equal(session.received, 1);
});

test("a refused hello is not said again for ever", () => {
  const session = new Session({ device: { id: "" }, token: "t" });
  session.connected(0);
  say(session, { op: "error", code: "invalid", message: "device.id: 1 to 64 characters" });
  assert.deepEqual(session.takeEvents(), [{ type: "over", code: 4400, reason: "device.id: 1 to 64 characters" }]);
});
