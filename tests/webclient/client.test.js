import assert from "node:assert/strict";
import { test } from "node:test";
import { ChatClient, MemoryStorage } from "../../packages/chat-server/src/chat_server/webclient/chat-client.js";

/** A client on a wire that the test holds the other end of. */
function rig({ storage = new MemoryStorage(), token = "t" } = {}) {
  const rig = { now: 0, timers: [], wires: [], storage };
  rig.clock = {
    now: () => rig.now,
    after: (ms, act) => {
      const timer = { at: rig.now + ms, act };
      rig.timers.push(timer);
      return timer;
    },
    cancel: (timer) => (rig.timers = rig.timers.filter((one) => one !== timer)),
  };
  rig.transport = (url, handlers) => {
    const wire = { sent: [], closed: false, handlers };
    wire.say = (...frames) => handlers.received(JSON.stringify(frames));
    wire.heard = (op) => wire.sent.filter((frame) => frame.op === op);
    rig.wires.push(wire);
    return { send: (text) => wire.sent.push(...[JSON.parse(text)].flat()), close: () => (wire.closed = true) };
  };
  rig.pass = async (ms) => {
    rig.now += ms;
    for (const timer of rig.timers.filter(({ at }) => at <= rig.now)) {
      rig.clock.cancel(timer);
      timer.act();
    }
    await new Promise((resolve) => setImmediate(resolve));
  };
  rig.client = new ChatClient({ url: "ws://x", token, device: { id: "d", platform: "test" }, storage, transport: rig.transport, clock: rig.clock, random: () => 1 });
  rig.welcome = (extra = {}) => {
    const wire = rig.wires.at(-1);
    wire.handlers.opened();
    wire.say({ op: "welcome", session: "s", resumed: false, user: { user: "me", name: "Me" }, epoch: "e", version: 0, heartbeat: 20, limits: { frame_bytes: 65536 }, ...extra });
    return wire;
  };
  return rig;
}

test("what was not sent before a reload is sent after it, under the same ref", async () => {
  const before = rig();
  before.client.start();
  before.welcome();
  await before.pass(0);
  const { ref } = before.client.sendText("c", "hello");
  before.client.stop(); // the page goes away before the server has answered
  const after = rig({ storage: before.storage });
  after.client.start();
  const wire = after.welcome();
  await after.pass(0);
  const [submit] = wire.heard("call").filter(({ command }) => command === "submit");
  assert.deepEqual(submit, { op: "call", ref, command: "submit", params: { conversation: "c", kind: "text", body: { text: "hello" } } });
});

test("a second message waits for the first one's receipt, and follows it", async () => {
  const { client, ...rest } = rig();
  client.start();
  const wire = rest.welcome();
  await rest.pass(0);
  const first = client.sendText("c", "1");
  client.sendText("c", "2");
  const texts = () => wire.heard("call").filter(({ command }) => command === "submit").map(({ params }) => params.body.text);
  assert.deepEqual(texts(), ["1"]);
  wire.say({ op: "reply", ref: first.ref, result: { conversation: "c", seq: 1, rev: 1, time: 1 } });
  await rest.pass(0);
  assert.deepEqual(texts(), ["1", "2"]);
});

test("tries again with growing waits, and from the beginning after a welcome", async () => {
  const { client, ...rest } = rig();
  const waits = [];
  client.on("state", ({ state, retryAt }) => state === "waiting" && waits.push(retryAt));
  client.start();
  for (let n = 0; n < 8; n += 1) {
    rest.wires.at(-1).handlers.closed(1006);
    await rest.pass(waits.at(-1) - rest.clock.now());
  }
  assert.deepEqual(waits.map((at, n) => at - (waits[n - 1] ?? 0)), [500, 1000, 2000, 4000, 8000, 16000, 30000, 30000]);
  rest.welcome();
  rest.wires.at(-1).handlers.closed(1006);
  assert.equal(waits.at(-1) - rest.clock.now(), 500);
});

test("a connection that never opens is given up, whatever is asked meanwhile", async () => {
  const { client, ...rest } = rig();
  client.start();
  client.call("user.me");
  await rest.pass(10000);
  assert.equal(client.state, "waiting");
  assert.equal(rest.wires[0].closed, true);
});

test("an end that is final is told, and nothing is tried again", async () => {
  const { client, ...rest } = rig();
  const over = [];
  client.on("over", (event) => over.push(event));
  client.start();
  const wire = rest.welcome();
  const open = client.call("user.me");
  wire.say({ op: "bye", code: 4401, reason: "logged out", reconnect: "never" });
  wire.handlers.closed(4401);
  await assert.rejects(open, { code: "closed" });
  await rest.pass(100_000);
  assert.deepEqual(over.map(({ code }) => code), [4401]);
  assert.equal(rest.wires.length, 1);
  await assert.rejects(client.call("user.me"), { code: "closed" });
});

test("an error answer rejects with what the server said", async () => {
  const { client, ...rest } = rig();
  client.start();
  const wire = rest.welcome();
  const open = client.call("group.create", { name: "" }, { ref: "g" });
  wire.say({ op: "error", ref: "g", code: "invalid", message: "name: 1 to 64 characters", field: "name", limit: 64 });
  await assert.rejects(open, { code: "invalid", field: "name", limit: 64, message: "name: 1 to 64 characters" });
});

test("a frame that cannot be read costs the connection, not the client", async () => {
  const { client, ...rest } = rig();
  client.start();
  const wire = rest.welcome();
  const { error } = console;
  console.error = () => {};
  wire.handlers.received("{");
  console.error = error;
  assert.equal(client.state, "waiting");
});

test("no transport message is above the limit, nor longer than the protocol's list", async () => {
  const { client, ...rest } = rig();
  client.start();
  const messages = [];
  for (let n = 0; n < 300; n += 1) client.call("user.search", { query: "字".repeat(200) });
  const wire = rest.wires[0];
  const push = wire.sent.push.bind(wire.sent);
  wire.sent.push = (...frames) => {
    messages.push(frames);
    return push(...frames);
  };
  rest.welcome();
  assert.equal(wire.heard("call").length >= 300, true);
  for (const frames of messages) {
    assert.ok(frames.length <= 128);
    assert.ok(new TextEncoder().encode(JSON.stringify(frames)).length <= 65536);
  }
});

test("a guest asks for nothing by itself", async () => {
  const { client, ...rest } = rig({ token: null });
  client.start();
  const wire = rest.welcome({ user: undefined });
  await rest.pass(0);
  assert.deepEqual(wire.sent.map(({ op }) => op), ["hello"]);
  assert.equal(wire.sent[0].token, undefined);
});

test("typing is told at most every three seconds", async () => {
  const { client, ...rest } = rig();
  client.start();
  const wire = rest.welcome();
  client.typing("c");
  client.typing("c");
  await rest.pass(2999);
  client.typing("c");
  assert.equal(wire.heard("note").length, 1);
  await rest.pass(1);
  client.typing("c");
  assert.equal(wire.heard("note").length, 2);
});

test("asks for presence again when a stranger writes for the first time, and when one becomes a contact", async () => {
  const { client, ...rest } = rig();
  const row = { conversation: "c", version: 1, kind: "direct", peer: { user: "bob", name: "Bob" }, head: { seq: 1, rev: 1, time: 1 }, read: 1, unread: 0, order: 1, spans: [[1]], first_seq: 1 };
  const message = (seq, sender, kind = "text") => ({ op: "push", event: "message", data: { conversation: "c", seq, rev: seq, sender, ref: `r${seq}`, kind, body: { text: "hi" }, time: seq } });
  const friends = (user) => ({ op: "push", event: "contact", data: { user: { user, name: user }, state: "friends", version: 2 } });
  client.start();
  const wire = rest.welcome();
  await rest.pass(0);
  const asked = () => wire.heard("call").filter(({ command }) => command === "presence.watch");
  wire.say({ op: "push", event: "inbox", data: row });
  client.watch(["bob", "cat"]);
  assert.equal(asked().length, 1);
  wire.say(message(2, "me"), message(3, "bob", "system"));
  assert.equal(asked().length, 1);
  assert.equal(client.conversation("c").peerSpoke, undefined);
  wire.say(message(4, "bob"), message(5, "bob"));
  wire.say(message(6, "bob"));
  assert.equal(asked().length, 2);
  assert.equal(client.conversation("c").peerSpoke, true);
  wire.say({ op: "reply", ref: asked()[1].ref, result: { online: ["bob"] } });
  await rest.pass(0);
  assert.deepEqual([...client.online], ["bob"]);
  wire.say(friends("cat"), friends("eve"));
  assert.equal(asked().length, 3);
  assert.deepEqual(asked()[2].params.users, ["bob", "cat"]);
});
