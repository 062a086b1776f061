/**
 * A chat client: session, connection, send queue and the copy of the user's conversations, put together.
 * See chat-client.d.ts for what each member promises.
 */
import { Connection, systemClock } from "./connection.js";
import { SendQueue } from "./queue.js";
import { Replica } from "./replica.js";
import { CallError, newRef, Session } from "./session.js";
import { defaultStorage } from "./storage.js";
import { Links, Uploads } from "./uploads.js";

const PASSING = new Set(["rate_limited", "unavailable", "internal"]);
/** At most one typing note per conversation in so many milliseconds. */
const TYPING_EVERY = 3000;
const WATCHED = 200;
const LOCK = "chat-tab-";
const lockOf = (tab) => LOCK + tab;
const locks = globalThis.navigator?.locks;

export class ChatClient {
  #session;
  #connection;
  #clock;
  #storage;
  #tab = newRef();
  #answers = new Map(); // ref → {resolve, reject}
  #listeners = new Map();
  #typed = new Map();
  #ahead = 0; // by how many milliseconds the server's clock is before this device's
  #reading = new Map(); // conversation → {seq, flying}
  #watched = [];
  #queueTimer;
  #letGo;
  #ending = new AbortController();
  #stopListening = () => {};

  constructor({ url, token, device, storage, transport, clock = systemClock, random, put } = {}) {
    const address = String(url);
    this.#clock = clock;
    this.#storage = storage;
    this.#session = new Session({ device, token });
    this.#connection = new Connection({
      url: address,
      session: this.#session,
      told: (event) => this.#told(event),
      transport,
      clock,
      random,
    });
    const call = (command, params) => this.call(command, params);
    const base = new URL("./", address.replace(/^ws/, "http")).href;
    const changed = (conversation) => this.#messagesChanged(conversation);
    const finished = ({ conversation, kind, body }) => this.send(conversation, kind, body);
    this.uploads = new Uploads({ call, base, clock, changed, finished, put });
    this.links = new Links({ call, base, now: () => this.serverNow() });
    this.replica = new Replica((gap) => this.#repaired(gap));
    this.queue = undefined;
    this.online = new Set();
    this.repairs = 0;
  }

  get state() {
    return this.#connection.state;
  }

  get me() {
    return this.replica.me;
  }

  /** Whether something that is not sent yet would be lost if the page went away now. */
  get fleeting() {
    return this.uploads.all.size > 0 || Boolean(this.queue?.fleeting);
  }

  get limits() {
    return this.#session.limits;
  }

  /** The time of the server in milliseconds since 1970 UTC: this device's own may be an hour wrong. */
  serverNow() {
    return Date.now() + this.#ahead;
  }

  start() {
    this.#listenOutside();
    this.#connection.start();
  }

  stop() {
    this.#stopListening();
    this.#letGo?.();
    this.#ending.abort();
    this.#clock.cancel(this.#queueTimer);
    this.#connection.stop();
  }

  /** Tries now what would be tried after the back-off. */
  reconnect() {
    this.#connection.poke();
  }

  on(event, listener) {
    if (!this.#listeners.has(event)) this.#listeners.set(event, new Set());
    this.#listeners.get(event).add(listener);
    return () => this.#listeners.get(event).delete(listener);
  }

  call(command, params = {}, { ref = newRef() } = {}) {
    if (this.#session.state === "over") return Promise.reject(new CallError({ code: "closed", message: "session over" }));
    const known = this.#answers.get(ref);
    if (known) return known.promise;
    const answer = {};
    answer.promise = new Promise((resolve, reject) => Object.assign(answer, { resolve, reject }));
    this.#answers.set(ref, answer);
    this.#session.call(ref, command, params);
    this.#connection.flush();
    return answer.promise;
  }

  // ---- conversations ----

  list() {
    return this.replica.list();
  }

  conversation(id) {
    return this.replica.conversations.get(id);
  }

  user(id) {
    const known = this.replica.user(id);
    if (!known) this.#pump();
    return known;
  }

  /** What is said there and what is about to be: messages in order, then the queue's entries. */
  messages(id) {
    const timeline = this.conversation(id)?.timeline;
    const pending = timeline && !timeline.atEnd ? [] : [...(this.queue?.of(id) ?? []), ...this.uploads.of(id)];
    return { messages: timeline?.messages ?? [], pending };
  }

  open(id, limit, around) {
    this.replica.open(id, limit, around);
    this.#pump();
  }

  want(id, page, seq) {
    this.replica.want(id, page, seq);
    this.#pump();
  }

  loadMembers(id) {
    this.replica.loadMembers(id);
    this.#pump();
  }

  // ---- doing ----

  send(conversation, kind, body, { ref = newRef(), reply_to, mentions } = {}) {
    const message = { ref, conversation, kind, body };
    if (reply_to !== undefined) message.reply_to = reply_to;
    if (mentions?.length) message.mentions = mentions;
    const entry = this.queue.add(message, Date.now());
    this.#typed.delete(conversation); // a message ends the typing that was told; the next letter begins it anew
    this.#messagesChanged(conversation);
    this.#drain();
    return entry;
  }

  sendText(conversation, text, options) {
    return this.send(conversation, "text", { text }, options);
  }

  /** Uploads a file and sends it; the upload's progress and end are told by `messages`. */
  attach(conversation, blob, options) {
    return this.uploads.add(conversation, blob, options);
  }

  /** The addresses of a file for some minutes, or undefined where it may not be read. */
  link(file) {
    return this.links.get(file);
  }

  /** The addresses did not work (any more): asks for new ones. */
  renewLink(file) {
    return this.links.renew(file);
  }

  /** A picture that is refused as a picture goes as a file. */
  sendAsFile(ref) {
    this.uploads.asFile(ref);
  }

  retry(ref) {
    if (this.uploads.all.has(ref)) {
      this.uploads.retry(ref);
      return;
    }
    this.queue.retry(ref, Date.now());
    this.#emit("messages", this.queue.entries.get(ref)?.conversation);
    this.#drain();
  }

  discard(ref) {
    if (this.uploads.all.has(ref)) {
      this.uploads.cancel(ref);
      return;
    }
    const conversation = this.queue.entries.get(ref)?.conversation;
    this.queue.discard(ref);
    this.#emit("messages", conversation);
  }

  async edit(conversation, seq, body) {
    this.#rows(conversation, { messages: [await this.call("message.edit", { conversation, seq, body })] });
  }

  async recall(conversation, seq) {
    this.#rows(conversation, { messages: [await this.call("message.recall", { conversation, seq })] });
  }

  async react(conversation, seq, emoji, on) {
    this.#rows(conversation, { messages: [await this.call("message.react", { conversation, seq, emoji, on })] });
  }

  /** Messages by words, sender, kind and time: `{hits, cursor}`. */
  search(wanted) {
    return this.call("message.search", wanted);
  }

  /** Moves my read pointer; only the newest of several quick moves is told to the server. */
  read(conversation, seq) {
    const one = this.conversation(conversation);
    if (!one || seq <= (one.read ?? 0)) return;
    one.read = seq;
    this.replica.read(conversation, seq);
    this.#changed();
    const pointer = this.#reading.get(conversation);
    if (pointer) pointer.seq = seq;
    else this.#tellRead(conversation, { seq });
  }

  typing(conversation) {
    const now = this.#clock.now();
    if (now - (this.#typed.get(conversation) ?? -Infinity) < TYPING_EVERY) return;
    this.#typed.set(conversation, now);
    this.#session.note("typing", { conversation });
    this.#connection.flush();
  }

  async openDirect(user) {
    return this.#row(await this.call("direct.open", { user }));
  }

  async createGroup(name, members) {
    return this.#row(await this.call("group.create", { name, members }));
  }

  async setInbox(conversation, changes) {
    return this.#row(await this.call("inbox.set", { conversation, ...changes }));
  }

  /** Comes into a group that one was invited to. */
  async accept(conversation) {
    return this.#row(await this.call("group.accept", { conversation }));
  }

  async decline(conversation) {
    await this.call("group.reject", { conversation });
    this.replica.forget(conversation);
    this.#changed();
  }

  async updateGroup(conversation, changes) {
    this.#rows(conversation, { conversation: await this.call("group.update", { conversation, ...changes }) });
  }

  async rename(name) {
    const { user } = await this.call("user.rename", { name });
    this.replica.pushed("user", user);
    this.#changed();
    return user;
  }

  /** Uploads a picture and wears it in one's profile. */
  async wear(picture) {
    const file = await this.uploads.send(picture);
    const { user } = await this.call("user.avatar", { file });
    this.replica.pushed("user", user);
    this.#changed();
    return user;
  }

  /** Whose presence is to be told from now on; replaces the former list. */
  watch(users) {
    const wanted = [...new Set(users)].slice(0, WATCHED).sort();
    if (wanted.join() === this.#watched.join()) return;
    this.#watched = wanted;
    if (this.state === "live") this.#watch();
  }

  // ---- inside ----

  #told(event) {
    switch (event.type) {
      case "state":
        if (event.state !== "live" && this.online.size > 0) {
          this.online.clear(); // who is there is not known now; it is asked with the next welcome
          this.#emit("presence");
        }
        this.#emit("state", event);
        break;
      case "welcome":
        this.#welcomed(event.welcome);
        break;
      case "reply":
        this.#answers.get(event.ref)?.resolve(event.result);
        this.#answers.delete(event.ref);
        break;
      case "error":
        this.#answers.get(event.ref)?.reject(new CallError(event.error));
        this.#answers.delete(event.ref);
        break;
      case "push":
        this.#pushed(event);
        break;
      case "lagged":
        this.replica.lagged();
        break;
      case "beat":
        this.replica.beaten(event);
        this.#emit("beat", event);
        break;
      case "note":
        if (event.event === "presence") this.#presence(event.data);
        this.#emit("note", event);
        break;
      case "over":
        this.#emit("over", event);
        break;
      default:
    }
    this.#pump();
    this.#changed();
  }

  #welcomed(welcome) {
    this.node = welcome.node;
    if (welcome.server_time) this.#ahead = welcome.server_time - Date.now();
    if (welcome.user) {
      this.replica.welcomed(welcome);
      if (!this.queue) this.#openQueue(welcome.user.user);
      else this.#drain();
      this.uploads.wake();
      if (this.#watched.length > 0) this.#watch(); // resumed too: comings and goings are notes, which nobody repeats
    }
    this.#emit("welcome", welcome);
  }

  #pushed({ event, data }) {
    if (event === "token") this.#session.token = data.token;
    if (this.me) this.replica.pushed(event, data);
    if (event === "message" && data.sender === this.me?.user) this.#echoed(data);
    if (event === "contact" && data.state === "friends") this.#known(data.user?.user);
    this.#emit("push", { event, data });
    if (event === "message") this.#emit("message", data);
  }

  /** Where the open conversation must be synced first, its entry stays on the screen until the message stands there. */
  #echoed({ conversation, seq, ref }) {
    const timeline = this.conversation(conversation)?.timeline;
    if (!timeline || timeline.get(seq)) this.queue?.seen(ref);
  }

  async #openQueue(user) {
    const kept = ({ conversation }) => this.#messagesChanged(conversation);
    this.queue = new SendQueue(this.#storage ?? defaultStorage(), { user, tab: this.#tab, kept });
    const living = await this.#livingTabs();
    await this.#adopt(living);
    for (const tab of living) this.#inherit(tab, living);
  }

  async #adopt(living) {
    try {
      await this.queue.adopt(living);
    } catch (error) {
      console.warn("chat-client: unsent messages cannot be kept over a reload", error);
    }
    for (const { conversation } of this.queue.entries.values()) this.#messagesChanged(conversation);
    this.#drain();
  }

  /** Tabs hold a lock while they live; without locks (plain http) all entries are adopted, and refs keep them single. */
  async #livingTabs() {
    if (!locks) return new Set();
    const held = new Promise((resolve) => (this.#letGo = resolve));
    locks.request(lockOf(this.#tab), () => held).catch(() => {});
    const tabs = (await locks.query()).held.filter(({ name }) => name.startsWith(LOCK));
    return new Set(tabs.map(({ name }) => name.slice(LOCK.length)).filter((tab) => tab !== this.#tab));
  }

  /** What a tab leaves unsent when it ends is ours: perhaps it was this page before its reload, and is not quite gone. */
  #inherit(tab, living) {
    const { signal } = this.#ending;
    const take = async () => {
      living.delete(tab);
      await this.#adopt(living);
    };
    locks.request(lockOf(tab), { signal }, take).catch(() => {}); // stopped before
  }

  #drain() {
    if (!this.queue || this.#session.state === "over") return;
    const now = Date.now();
    for (const entry of this.queue.take(now)) this.#submit(entry);
    this.#clock.cancel(this.#queueTimer);
    const deadline = this.queue.deadline();
    if (deadline > now) this.#queueTimer = this.#clock.after(deadline - now, () => this.#drain());
  }

  async #submit({ ref, conversation, kind, body, reply_to, mentions }) {
    const params = { conversation, kind, body };
    if (reply_to !== undefined) params.reply_to = reply_to;
    if (mentions !== undefined) params.mentions = mentions;
    try {
      const receipt = await this.call("submit", params, { ref });
      this.queue.sent(ref, receipt);
      if (this.conversation(conversation)?.timeline?.settled(receipt.seq)) this.queue.seen(ref);
    } catch (error) {
      this.queue.refused(ref, error, Date.now());
    }
    this.#messagesChanged(conversation);
    this.#drain();
  }

  async #tellRead(conversation, pointer) {
    this.#reading.set(conversation, pointer);
    let told = 0;
    try {
      while (told < pointer.seq) {
        told = pointer.seq;
        await this.call("read", { conversation, seq: told });
      }
    } catch {
      const one = this.conversation(conversation);
      if (one) one.read = 0; // asked again with the next message that is seen
    } finally {
      this.#reading.delete(conversation);
    }
  }

  #watch() {
    this.call("presence.watch", { users: this.#watched }).then(
      ({ online }) => {
        this.online = new Set(online);
        this.#emit("presence");
      },
      () => {},
    );
  }

  /** The presence of this user may be known from now on. The list that is watched was asked before. */
  #known(user) {
    if (this.state === "live" && this.#watched.includes(user)) this.#watch();
  }

  #presence({ user, online }) {
    if (online) this.online.add(user);
    else this.online.delete(user);
    this.#emit("presence");
  }

  #pump() {
    for (const job of this.replica.jobs()) this.#work(job);
  }

  async #work(job) {
    for (;;) {
      try {
        job.done(await this.call(job.command, job.params));
        break;
      } catch (error) {
        if (!(error instanceof CallError)) throw error;
        if (!PASSING.has(error.code)) {
          job.failed(error);
          break;
        }
        await new Promise((resume) => this.#clock.after((error.retryAfter ?? 1) * 1000, resume));
      }
    }
    this.#pump();
    this.#changed();
  }

  #repaired(gap) {
    console.warn(`chat-client: ${gap.found} of ${gap.seqs.length} messages had not come to ${gap.conversation}: ${gap.seqs.slice(0, 10)}`);
    this.repairs += gap.seqs.length;
    this.#emit("debug", { kind: "gap", ...gap });
  }

  #row(inbox) {
    const one = this.replica.inbox(inbox);
    this.#changed();
    return one;
  }

  #rows(id, rows) {
    this.replica.rows(id, rows);
    this.#changed();
  }

  #messagesChanged(conversation) {
    this.#emit("messages", conversation);
  }

  #changed() {
    for (const change of this.replica.takeChanges()) {
      const [name, id] = change.split(":");
      if (name === "messages") this.#settle(id);
      if (name === "known") this.#known(id);
      this.#emit(name, id);
    }
  }

  /** Queue entries whose message has come by sync rather than by push. */
  #settle(id) {
    if (!this.queue) return;
    for (const { ref, seq } of this.queue.of(id)) {
      const timeline = this.conversation(id)?.timeline;
      if (!timeline) return;
      const seen = seq === undefined ? timeline.messages.some((row) => row.ref === ref) : timeline.settled(seq);
      if (seen) this.queue.seen(ref);
    }
  }

  #emit(event, detail) {
    for (const listener of this.#listeners.get(event) ?? []) {
      try {
        listener(detail);
      } catch (error) {
        console.error(`chat-client: a listener of "${event}" failed`, error);
      }
    }
  }

  #listenOutside() {
    const page = globalThis.document;
    if (!page) return;
    const poke = () => page.visibilityState === "visible" && this.#connection.poke();
    const doubt = () => this.#connection.poke();
    globalThis.addEventListener("online", poke);
    globalThis.addEventListener("offline", doubt); // perhaps: the server may be on this machine, so it is asked
    page.addEventListener("visibilitychange", poke);
    this.#stopListening = () => {
      globalThis.removeEventListener("online", poke);
      globalThis.removeEventListener("offline", doubt);
      page.removeEventListener("visibilitychange", poke);
    };
  }
}
