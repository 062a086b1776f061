/**
 * Keeps one session connected: a WebSocket, its timers, and the way back after a loss.
 *
 * The only file that knows of sockets and timers. Everything it decides with is in the session; it may be given
 * another `transport`, `clock` and `random` for tests.
 */
const FIRST_WAIT = 500;
const LONGEST_WAIT = 30000;
/** How long a connection may take to open. */
const OPENING = 10000;
/** Frames to one transport message at most. */
const BATCH = 100;

/** `(url, {opened, received, closed}) → {send(text), close()}` over the browser's WebSocket. */
export function webSocketTransport(url, { opened, received, closed }) {
  const socket = new WebSocket(url, ["chat.v1.json"]);
  socket.onopen = opened;
  socket.onmessage = ({ data }) => received(data);
  socket.onclose = ({ code }) => closed(code);
  return {
    // What is said while the socket closes is lost like what was on its way; the browser would complain of it.
    send: (text) => socket.readyState === WebSocket.OPEN && socket.send(text),
    close: () => socket.close(),
  };
}

export const systemClock = {
  now: () => performance.now(),
  after: (milliseconds, act) => setTimeout(act, milliseconds),
  cancel: (timer) => clearTimeout(timer),
};

export class Connection {
  #url;
  #session;
  #transport;
  #clock;
  #random;
  #told;
  #wire;
  #timer;
  #opening;
  #retry;
  #attempts = 0;
  #running = false;

  /** @param told called with each session event, and with `{type: "state", state, retryAt?}` */
  constructor({ url, session, told, transport = webSocketTransport, clock = systemClock, random = Math.random }) {
    this.#url = url;
    this.#session = session;
    this.#told = told;
    this.#transport = transport;
    this.#clock = clock;
    this.#random = random;
    this.state = "stopped";
  }

  start() {
    if (this.#running) return;
    this.#running = true;
    this.#open();
  }

  stop() {
    this.#running = false;
    this.#clock.cancel(this.#retry);
    this.#drop(1000);
    this.#set("stopped");
  }

  /** The outside has changed (network back, tab shown): try now what would be tried later. */
  poke() {
    if (!this.#running) return;
    if (this.state === "waiting") {
      this.#clock.cancel(this.#retry);
      this.#open();
    } else {
      this.#session.doubt(this.#clock.now());
      this.flush();
    }
  }

  /** Sends what the session has to say and passes on what it has heard. */
  flush() {
    for (const event of this.#session.takeEvents()) {
      if (event.type === "silent") {
        this.#lost(4001);
        return;
      }
      if (event.type === "welcome") {
        this.#attempts = 0;
        this.#set("live");
      }
      this.#told(event);
      if (event.type === "over") {
        this.#running = false;
        this.#drop(1000);
        this.#set("stopped");
        return;
      }
    }
    const limit = this.#session.limits.frame_bytes ?? 65536;
    for (const text of packed(this.#session.takeFrames(), limit)) this.#wire?.send(text);
    this.#schedule();
  }

  #set(state, retryAt) {
    this.state = state;
    this.#told({ type: "state", state, retryAt });
  }

  #open() {
    this.#set("connecting");
    const wire = this.#transport(this.#url, {
      opened: () => {
        if (wire !== this.#wire) return;
        this.#clock.cancel(this.#opening);
        this.#session.connected(this.#clock.now());
        this.flush();
      },
      received: (text) => {
        if (wire !== this.#wire) return;
        try {
          this.#session.receive(text, this.#clock.now());
        } catch (error) {
          console.error("chat-client: a frame that cannot be read", error);
          this.#lost(1006);
          return;
        }
        this.flush();
      },
      closed: (code) => {
        if (wire === this.#wire) this.#lost(code);
      },
    });
    this.#wire = wire;
    // An attempt into a black hole would otherwise hang for minutes.
    this.#opening = this.#clock.after(OPENING, () => this.#lost(1006));
  }

  #drop() {
    const wire = this.#wire;
    this.#wire = undefined;
    this.#clock.cancel(this.#timer);
    this.#clock.cancel(this.#opening);
    wire?.close();
  }

  #lost(code) {
    this.#drop();
    const { state } = this.#session;
    const next = state === "down" ? "resume" : this.#session.lost(code);
    if (next === "never") {
      this.flush();
      return;
    }
    if (!this.#running) return;
    // Full jitter, so that a server that comes back is not met by everybody at once.
    const wait = this.#random() * Math.min(LONGEST_WAIT, FIRST_WAIT * 2 ** this.#attempts);
    this.#attempts += 1;
    this.#set("waiting", this.#clock.now() + wait);
    this.#retry = this.#clock.after(wait, () => this.#open());
  }

  #schedule() {
    this.#clock.cancel(this.#timer);
    const deadline = this.#session.deadline();
    if (deadline === undefined || !this.#wire) return;
    this.#timer = this.#clock.after(Math.max(0, deadline - this.#clock.now()), () => {
      this.#session.poll(this.#clock.now());
      this.flush();
    });
  }
}

/** Frames as transport messages: several to one as long as they stay under the limit. */
function* packed(frames, limit) {
  let batch = [];
  let size = 2;
  for (const frame of frames) {
    const text = JSON.stringify(frame);
    const bytes = new TextEncoder().encode(text).length + 1;
    if (batch.length > 0 && (size + bytes > limit || batch.length >= BATCH)) {
      yield batch.length === 1 ? batch[0] : `[${batch.join(",")}]`;
      batch = [];
      size = 2;
    }
    batch.push(text);
    size += bytes;
  }
  if (batch.length > 0) yield batch.length === 1 ? batch[0] : `[${batch.join(",")}]`;
}
