/**
 * One protocol session, without any input or output of its own.
 *
 * It is fed (`connected`, `receive`, `lost`, `call`, `note`, `poll`) and asked (`takeFrames`, `takeEvents`,
 * `deadline`). It counts pushes, acknowledges them, remembers what must be repeated after a new connection,
 * and judges from the times it is given whether the other side still lives. `now` is in milliseconds of any
 * steady clock.
 */

/** What may be said in which state: state → the next state for each thing that happens. */
const TRANSITIONS = {
  down: { connected: "greeting", over: "over" },
  greeting: { welcome: "live", lost: "down", over: "over" },
  live: { lost: "down", over: "over" },
  over: {},
};

/** Close codes after which a new connection would only be refused again. */
const FINAL = new Set([4400, 4401, 4403, 4409]);
/** Close codes after which the session is gone, though a new one is welcome. */
const FRESH = new Set([4100, 4101]);

/** Acknowledge after so many pushes, or after so many milliseconds, whichever is first. */
const ACK_EVERY = 8;
const ACK_DELAY = 200;
/** How long a doubted connection has to answer a ping: half a heartbeat, but no longer than this. */
const LONGEST_GRACE = 5000;
/** Until `welcome` has told the real one. */
const FIRST_HEARTBEAT = 30;
/** How long a connection may be open without a welcome. */
const GREETING = 10000;

export class CallError extends Error {
  /** @param {{code: string, message?: string, field?: string, limit?: number, retry_after?: number, details?: object}} error */
  constructor(error) {
    super(error.message || error.code);
    this.name = "CallError";
    this.code = error.code;
    this.field = error.field;
    this.limit = error.limit;
    this.retryAfter = error.retry_after;
    this.details = error.details;
  }
}

/** 128 random bits as 32 hex digits; `crypto.randomUUID` is missing on plain-http origins. */
export function newRef() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

export class Session {
  /** @param {{device: {id: string, platform: string, name?: string}, token?: string}} options */
  constructor({ device, token }) {
    this.device = device;
    this.token = token;
    this.state = "down";
    this.id = undefined; // set while a resume may succeed
    this.received = 0;
    this.acked = 0;
    this.heartbeat = FIRST_HEARTBEAT;
    this.limits = {};
    this.heardAt = 0;
    this.ackDue = undefined;
    this.doubtedAt = undefined;
    this.bye = undefined;
    this.calls = new Map(); // ref → call frame, until answered
    this.frames = [];
    this.events = [];
  }

  /** A new connection is open: say hello, with a resume where there is something to resume. */
  connected(now) {
    this.#go("connected");
    this.heardAt = now;
    this.doubtedAt = undefined;
    this.ackDue = undefined;
    this.bye = undefined;
    const hello = { op: "hello", device: this.device };
    if (this.token) hello.token = this.token;
    if (this.id) hello.resume = { session: this.id, received: this.received };
    this.frames.push(hello);
  }

  /** One transport message has come: a frame or a list of frames, as text. */
  receive(text, now) {
    if (this.state !== "greeting" && this.state !== "live") return;
    this.heardAt = now;
    this.doubtedAt = undefined;
    const message = JSON.parse(text);
    for (const frame of Array.isArray(message) ? message : [message]) this.#frame(frame, now);
  }

  /**
   * The connection is gone. Returns what comes next: "resume", "sync" (a new session) or "never".
   * A server's `bye` decides; without one, its close code.
   */
  lost(code) {
    if (this.state === "over") return "never";
    this.#go("lost");
    const next = this.bye?.reconnect ?? (FINAL.has(code) ? "never" : FRESH.has(code) ? "sync" : "resume");
    this.ackDue = undefined;
    this.frames.length = 0;
    if (next !== "resume") this.#forget();
    if (next === "never") this.end({ code: this.bye?.code ?? code, reason: this.bye?.reason ?? "" });
    return next;
  }

  /** Ends the session for good; every open call fails with `closed`. */
  end({ code, reason }) {
    if (this.state === "over") return;
    this.#go("over");
    for (const ref of this.calls.keys()) {
      this.events.push({ type: "error", ref, error: { code: "closed", message: reason || "session over" } });
    }
    this.calls.clear();
    this.events.push({ type: "over", code, reason });
  }

  /** A command; it is repeated under its ref on every new connection until it is answered. */
  call(ref, command, params) {
    const frame = { op: "call", ref, command, params };
    this.calls.set(ref, frame);
    if (this.state === "live") this.frames.push(frame);
  }

  /** Something volatile; dropped while there is no connection. */
  note(event, data) {
    if (this.state === "live") this.frames.push({ op: "note", event, data });
  }

  /** Time has passed: acknowledge what is due, doubt a silent connection, give up a doubted one. */
  poll(now) {
    if (this.ackDue !== undefined && now >= this.ackDue) this.#ack();
    if (this.state === "greeting" && now - this.heardAt >= GREETING) this.events.push({ type: "silent" });
    if (this.state !== "live") return;
    if (this.doubtedAt !== undefined) {
      if (now - this.doubtedAt >= this.#grace) this.events.push({ type: "silent" });
    } else if (now - this.heardAt >= this.heartbeat * 1500) {
      this.doubt(now);
    }
  }

  /**
   * Asks the other side for a sign of life now. A timer that fires late (a hidden tab, a laptop that slept)
   * may run before the frames that already wait; so silence is never believed without this question.
   */
  doubt(now) {
    if (this.doubtedAt !== undefined || this.state !== "live") return;
    this.doubtedAt = now;
    this.frames.push({ op: "ping" });
  }

  /** When `poll` has something to do next, or undefined. */
  deadline() {
    if (this.state === "greeting") return this.heardAt + GREETING;
    if (this.state !== "live") return undefined;
    const life = this.doubtedAt === undefined ? this.heardAt + this.heartbeat * 1500 : this.doubtedAt + this.#grace;
    return this.ackDue === undefined ? life : Math.min(life, this.ackDue);
  }

  takeFrames() {
    return this.frames.splice(0);
  }

  takeEvents() {
    return this.events.splice(0);
  }

  get #grace() {
    return Math.min(LONGEST_GRACE, this.heartbeat * 500);
  }

  #go(happening) {
    const next = TRANSITIONS[this.state][happening];
    if (!next) throw new Error(`a session that is ${this.state} cannot take "${happening}"`);
    this.state = next;
  }

  #forget() {
    this.id = undefined;
    this.received = 0;
    this.acked = 0;
  }

  #ack() {
    this.ackDue = undefined;
    this.acked = this.received;
    this.frames.push({ op: "ack", received: this.received });
  }

  #counted(now) {
    this.received += 1;
    if (this.received - this.acked >= ACK_EVERY) this.#ack();
    else this.ackDue ??= now + ACK_DELAY;
  }

  #frame(frame, now) {
    switch (frame.op) {
      case "welcome":
        this.#welcome(frame);
        break;
      case "push":
        this.#counted(now);
        this.events.push({ type: "push", event: frame.event, data: frame.data });
        break;
      case "lagged":
        this.#counted(now);
        this.events.push({ type: "lagged" });
        break;
      case "note":
        this.events.push({ type: "note", event: frame.event, data: frame.data });
        break;
      case "beat":
        this.#ack(); // at once, in this very handler: a hidden tab's timers are not to be trusted
        this.events.push({ type: "beat", version: frame.version, behind: frame.behind === true });
        break;
      case "reply":
        if (this.calls.delete(frame.ref)) this.events.push({ type: "reply", ref: frame.ref, result: frame.result });
        break;
      case "error":
        this.#error(frame);
        break;
      case "bye":
        this.bye = frame;
        break;
      default: // pong, and what later versions add
    }
  }

  #welcome(frame) {
    if (this.state !== "greeting") return;
    this.#go("welcome");
    if (!frame.resumed) this.received = 0;
    this.acked = this.received;
    this.id = frame.session;
    this.heartbeat = frame.heartbeat;
    this.limits = frame.limits ?? {};
    this.events.push({ type: "welcome", welcome: frame });
    this.frames.push(...this.calls.values());
  }

  #error({ ref, op, ...error }) {
    if (ref !== undefined) {
      if (this.calls.delete(ref)) this.events.push({ type: "error", ref, error });
    } else if (this.state === "greeting" && error.code === "invalid") {
      this.end({ code: 4400, reason: error.message }); // our hello was refused; saying it again changes nothing
    }
  }
}
