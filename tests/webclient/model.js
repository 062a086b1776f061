/**
 * A whole client against a small model of a server, over wires that lag, drop and are cut: in the end both are equal.
 * Time stands still unless the run moves it.
 */
import assert from "node:assert/strict";
import { ChatClient, MemoryStorage } from "../../packages/chat-server/src/chat_server/webclient/chat-client.js";

function randomOf(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

class World {
  constructor(seed) {
    this.random = randomOf(seed);
    this.now = 0;
    this.timers = [];
    this.rooms = new Map();
    this.refs = new Map();
    this.version = 0;
    this.rowVersions = new Map();
    this.sessions = new Map();
    this.wires = [];
    this.lagging = false;
    this.clock = {
      now: () => this.now,
      after: (ms, act) => {
        const timer = { at: this.now + ms, act };
        this.timers.push(timer);
        return timer;
      },
      cancel: (timer) => (this.timers = this.timers.filter((one) => one !== timer)),
    };
    for (const id of ["a", "b", "c"]) this.rooms.set(id, { id, rev: 0, messages: [], read: 0, own: 0, first: 1, changed: 0 });
  }

  async run(ms) {
    const until = this.now + ms;
    for (;;) {
      await new Promise((resolve) => setImmediate(resolve));
      this.timers.sort((x, y) => x.at - y.at);
      if (!this.timers.length || this.timers[0].at > until) break;
      const { at, act } = this.timers.shift();
      this.now = Math.max(this.now, at);
      act();
    }
    this.now = until;
  }

  // ---- the room's truth ----

  say(id, sender, body, ref) {
    const room = this.rooms.get(id);
    const message = { conversation: id, seq: room.messages.length + 1, rev: (room.rev += 1), sender, ref, kind: "text", body, time: 1e12 + this.now };
    room.messages.push(message);
    if (sender === "me") room.own = message.seq;
    this.touch(room);
    this.push("message", message);
    return message;
  }

  change(id, seq, change) {
    const room = this.rooms.get(id);
    const message = { ...room.messages[seq - 1], ...change, rev: (room.rev += 1) };
    room.messages[seq - 1] = message;
    this.touch(room);
    this.push("message", message);
  }

  /** Retention: what lies before is deleted for everybody. */
  purge(id, first) {
    const room = this.rooms.get(id);
    if (first <= room.first) return;
    room.first = first;
    room.changed = room.rev += 1;
    this.touch(room);
    this.push("conversation", this.info(room));
  }

  info(room) {
    return { conversation: room.id, rev: room.changed, kind: "group", name: room.id, members: 2, ...(room.first > 1 && { first_seq: room.first }) };
  }

  touch(room) {
    this.rowVersions.set(room.id, (this.version += 1));
  }

  row(room) {
    const floor = Math.max(room.read, room.own, room.first - 1);
    const last = room.messages.at(-1);
    return {
      conversation: room.id, version: this.rowVersions.get(room.id) ?? 0, kind: "group", name: room.id, spans: [[1]], first_seq: room.first,
      head: { seq: room.messages.length, rev: room.rev, time: last?.time ?? 1e12 }, read: room.read,
      unread: Math.max(0, room.messages.length - floor), role: "member", order: last?.time ?? 1e12,
    };
  }

  // ---- sessions ----

  push(event, data) {
    for (const session of this.sessions.values()) {
      if (this.lagging) {
        session.dropped = session.hole = true;
        continue;
      }
      this.room(session);
      this.put(session, { op: "push", event, data: structuredClone(data) });
      if (!session.hole) session.version = this.version;
    }
  }

  /** There is room in the window again: what was dropped meanwhile is owned up to. */
  room(session) {
    if (session.dropped) this.put(session, { op: "lagged" });
    session.dropped = false;
  }

  /** To everybody: how far the session's pushes reach without a hole, and whether that is behind. */
  beat() {
    for (const { wire, version } of this.sessions.values()) wire?.down({ op: "beat", version, behind: version < this.version });
  }

  put(session, frame) {
    session.log.push(frame);
    session.wire?.down(frame);
  }

  transport = (url, { opened, received, closed }) => {
    const world = this;
    const wire = { open: true, last: 0 };
    const later = (act) => {
      // In order, like TCP, however slow.
      wire.last = Math.max(wire.last, this.now + this.random() * 80);
      this.clock.after(wire.last - this.now, () => wire.open && act());
    };
    wire.down = (frame) => later(() => received(JSON.stringify(frame)));
    wire.cut = () => {
      if (!wire.open) return;
      wire.open = false;
      if (wire.session?.wire === wire) wire.session.wire = undefined;
      this.clock.after(1, () => closed(1006));
    };
    this.wires.push(wire);
    later(opened);
    return {
      send: (text) => later(() => [JSON.parse(text)].flat().forEach((frame) => world.hear(wire, frame))),
      close: () => {
        wire.open = false;
        if (wire.session?.wire === wire) wire.session.wire = undefined;
      },
    };
  };

  hear(wire, frame) {
    if (frame.op === "hello") {
      const old = this.sessions.get(frame.resume?.session);
      const resumed = old !== undefined && frame.resume.received <= old.log.length && this.random() < 0.7;
      const session = resumed ? old : { id: `s${this.random()}`, log: [], version: this.version };
      if (!resumed && old) this.sessions.delete(old.id);
      this.sessions.set(session.id, session);
      wire.session = session;
      session.wire = wire;
      wire.down({ op: "welcome", session: session.id, resumed, user: { user: "me", name: "Me" }, epoch: "e", version: this.version, heartbeat: 20, limits: { frame_bytes: 65536 } });
      wire.down({ op: "beat", version: session.version }); // at the worst moment: while a sync may be owed
      if (resumed) session.log.slice(frame.resume.received).forEach((one) => wire.down(one));
    } else if (frame.op === "call") {
      const result = this.answer(frame);
      if (frame.command === "sync" && frame.params.version !== undefined && !result.more) {
        wire.session.version = this.version;
        wire.session.hole = false;
      }
      if (this.random() < 0.95) wire.down({ op: "reply", ref: frame.ref, result });
      else wire.cut(); // carried out, and the answer is lost
    } else if (frame.op === "ack") {
      assert.ok(frame.received <= wire.session.log.length, "acknowledged more than was pushed");
    } else if (frame.op === "ping") wire.down({ op: "pong" });
  }

  answer({ ref, command, params }) {
    const room = this.rooms.get(params.conversation);
    switch (command) {
      case "inbox.list":
        return { inbox: [...this.rooms.values()].map((one) => this.row(one)), version: this.version, epoch: "e" };
      case "history": {
        const end = params.before ? params.before - 1 : room.messages.length;
        const head = { seq: room.messages.length, rev: room.rev };
        const from = params.after !== undefined ? Math.max(params.after, room.first - 1) : Math.max(room.first - 1, end - params.limit);
        const page = room.messages.slice(from, params.after !== undefined ? from + params.limit : Math.max(from, end));
        return structuredClone({ messages: page, first_seq: room.first, head });
      }
      case "submit": {
        if (!this.refs.has(ref)) this.refs.set(ref, this.say(room.id, "me", params.body, ref));
        const { conversation, seq, rev, time } = this.refs.get(ref);
        return { conversation, seq, rev, time };
      }
      case "sync": {
        if (!room) {
          const versionOf = ({ id }) => this.rowVersions.get(id) ?? 0;
          const rows = [...this.rooms.values()].filter((one) => versionOf(one) > params.version);
          const [first, ...others] = rows.sort((x, y) => versionOf(x) - versionOf(y));
          const more = others.length > 0; // one row a page
          const version = more ? versionOf(first) : this.version;
          return { epoch: "e", version, more, inbox: first ? [this.row(first)] : [], hot: [] };
        }
        const rows = room.messages.filter(({ seq, rev }) => seq >= room.first && rev > params.rev).sort((x, y) => x.rev - y.rev);
        const page = rows.slice(0, 5);
        const more = page.length < rows.length;
        const reached = more ? page.at(-1).rev : room.rev;
        const conversation = params.rev < room.changed && room.changed <= reached ? this.info(room) : undefined;
        return structuredClone({ rev: reached, more, messages: page, members: [], conversation });
      }
      case "read":
        room.read = Math.max(room.read, params.seq);
        this.touch(room);
        this.push("inbox", this.row(room));
        return { read: room.read, unread: 0 };
      case "group.get":
        return this.info(room);
      case "user.get":
        return { users: [] };
      default:
        throw new Error(command);
    }
  }
}

/** One run: two minutes of talk, edits and cuts; throws where the client's copy is not the truth. */
export async function run(seed) {
  const world = new World(seed);
  const client = new ChatClient({
    url: "ws://model", token: "t", device: { id: "d", platform: "test" },
    storage: new MemoryStorage(), transport: world.transport, clock: world.clock, random: world.random,
  });
  client.start();
  await world.run(1000);
  client.open("a");
  client.open("b");
  const sent = { a: [], b: [], c: [] };
  for (let step = 0; step < 120; step += 1) {
    const id = ["a", "a", "b", "c"][Math.floor(world.random() * 4)];
    const room = world.rooms.get(id);
    const dice = world.random();
    if (dice < 0.35) world.say(id, "bob", { text: `bob ${step}` }, `bob${step}`);
    else if (dice < 0.6) {
      sent[id].push(`me ${step}`);
      client.sendText(id, `me ${step}`);
    } else if (dice < 0.7 && room.messages.length) {
      const seq = 1 + Math.floor(world.random() * room.messages.length);
      if (seq >= room.first) world.change(id, seq, { body: { text: `edited ${step}` } });
    } else if (dice < 0.75 && room.messages.length) client.read(id, room.messages.length);
    else if (dice < 0.83) world.wires.at(-1).cut();
    else if (dice < 0.87) world.lagging = !world.lagging;
    else if (dice < 0.89) client.want(id, "older");
    else if (dice < 0.91) world.purge(id, Math.floor(world.random() * (room.messages.length + 2)));
    else world.beat();
    await world.run(world.random() * 150);
  }
  world.lagging = false;
  for (const session of world.sessions.values()) world.room(session);
  await world.run(240_000);

  for (const id of ["a", "b"]) {
    const { messages: said, first } = world.rooms.get(id);
    const truth = said.filter(({ seq }) => seq >= first);
    const { messages, pending } = client.messages(id);
    const strip = ({ seq, rev, body, ref }) => ({ seq, rev, text: body.text, ref });
    assert.deepEqual(messages.map(strip), truth.slice(truth.length - messages.length).map(strip), `conversation ${id}`);
    assert.ok(messages.length >= Math.min(truth.length, 50) || client.conversation(id).timeline.atStart === false);
    assert.deepEqual(pending.map(({ state }) => state), [], "nothing is left unsent");
  }
  for (const [id, texts] of Object.entries(sent)) {
    const room = world.rooms.get(id);
    const refs = room.messages.filter(({ sender }) => sender === "me");
    assert.equal(refs.length, texts.length, "each sent once");
    assert.equal(new Set(refs.map(({ ref }) => ref)).size, texts.length);
    const untouched = refs.map(({ body }) => body.text).filter((text) => text.startsWith("me "));
    assert.deepEqual(untouched, texts.filter((text) => untouched.includes(text)), "in the order sent");
    const one = client.conversation(id);
    assert.equal(one.head.seq, room.messages.length, `head of ${id}`);
    assert.equal(one.unread, world.row(room).unread, `unread of ${id}`);
  }
  client.stop();
}
