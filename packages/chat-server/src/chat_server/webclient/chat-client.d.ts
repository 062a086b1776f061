/** Types of chat-client.js: the chat protocol, version 1, for browsers and other JavaScript with WebSockets. */

// ---- records, as docs/protocol names them; fields may be added ----

export interface User {
  user: string;
  name: string;
  avatar?: string;
  badge?: { item: string; name: string; picture?: string; names?: Record<string, string> };
  /** The account is gone, and the name only says so. */
  deleted?: true;
  /** The login name, one user's alone. */
  handle?: string;
  /** What the name looks like, where that is not the name in small letters: two names with one can be mixed up. */
  skeleton?: string;
}

export interface Message {
  conversation: string;
  /** 1, 2, 3 … within the conversation: the order of messages. */
  seq: number;
  /** The stamp of its newest change. */
  rev: number;
  sender: string;
  ref: string;
  kind: string;
  /** Absent when recalled. */
  body?: any;
  /** Milliseconds since 1970 UTC. */
  time: number;
  reply_to?: { seq: number; sender: string; kind: string; text: string };
  mentions?: string[];
  edited_at?: number;
  recalled?: { by: string; time: number };
  /** `users`: the first three who reacted so. */
  reactions?: { emoji: string; count: number; users?: string[] }[];
}

export interface Member {
  conversation: string;
  rev: number;
  user: User;
  role: "owner" | "admin" | "member";
  /** Intervals of seq that the member may see; the last one closed: has left. */
  spans: ([number] | [number, number])[];
  joined_at: number;
  muted_until?: number;
  read?: number;
}

export interface Head {
  seq: number;
  rev: number;
  time: number;
  /** `kind` is "recalled" where there is nothing left to be shown; the text of a system message is its event. */
  preview?: { sender: string; kind: string; text: string };
}

export interface Receipt {
  conversation: string;
  seq: number;
  rev: number;
  time: number;
}

/** What to look for; see docs/protocol.md. Without a `query` there must be another condition. */
export interface MessageSearch {
  query?: string;
  conversation?: string;
  sender?: string;
  kinds?: string[];
  /** Only texts with a link in them. */
  links?: boolean;
  /** Milliseconds since 1970 UTC; `until` is exclusive. */
  since?: number;
  until?: number;
  cursor?: string;
  limit?: number;
}

export interface MessageHit {
  message: Message;
  /** One line of what it says, around the first place that fits. */
  text: string;
  /** Places in `text`, [from, to) in code points. */
  marks: [number, number][];
}

/** Newest first. `cursor`: there may be more, even where this page is empty. */
export interface MessageHits {
  hits: MessageHit[];
  cursor?: string;
}

export interface Welcome {
  session: string;
  resumed: boolean;
  /** Absent for a guest. */
  user?: User;
  device: string;
  epoch: string;
  version: number;
  /** Seconds. */
  heartbeat: number;
  resume_for: number;
  window: number;
  limits: Record<string, number>;
  server_time: number;
  node: string;
}

// ---- what a client holds ----

/** One entry of the user's list, kept up to date. Read it, do not write it. */
export interface Conversation {
  id: string;
  kind: "direct" | "group";
  name?: string;
  avatar?: string;
  peer?: User;
  role: "owner" | "admin" | "member";
  head: Head;
  unread: number;
  /** seq of the newest unread message that mentions me. */
  mentioned?: number;
  muted: boolean;
  pinned: boolean;
  /** Marked as unread by hand: see `setInbox`. */
  marked_unread: boolean;
  hidden: boolean;
  /** I am no longer a member. */
  left: boolean;
  /** I was invited and have not answered: nothing but the name is known. See `accept` and `decline`. */
  pending: boolean;
  invited_by?: User;
  order: number;
  /** The first message that exists for me: what lies before it was deleted, or said before I came. */
  first_seq: number;
  /** After how many days messages are deleted for everybody, where that was said of this conversation. */
  keptDays?: number;
  /** Everything up to here is read, unseen by right, or older than what I said last. */
  floor: number;
  /** What of the conversation I may see: intervals of seq. */
  spans?: ([number] | [number, number])[];
  /** I may not write before this time (milliseconds since 1970 UTC); as far as known. */
  mutedUntil?: number;
  /** The same for all who are only members. */
  silencedUntil?: number;
  /** In direct chats: the other one has written, as far as is known. Before, a stranger's presence is not told. */
  peerSpoke?: boolean;
  /** In direct chats: how far the other one has read. */
  peerRead: number;
  /** How many members, once it is open. */
  count?: number;
  announcement?: string;
  /** By user id, once `loadMembers` was called; who has left stays, with a closed span. */
  members?: Map<string, Member>;
  membersLoaded?: boolean;
  /** Its messages, once it is open. */
  timeline?: Timeline;
}

/** One unbroken window of a conversation's messages. */
export class Timeline {
  readonly rev: number | undefined;
  readonly messages: readonly Message[];
  readonly atStart: boolean;
  readonly atEnd: boolean;
  readonly loading: boolean;
  get(seq: number): Message | undefined;
  indexOf(seq: number): number;
}

/** A message on its way. */
export interface QueueEntry {
  ref: string;
  conversation: string;
  kind: string;
  body: any;
  reply_to?: number;
  mentions?: string[];
  /** When it was written, in milliseconds since 1970 UTC. */
  at: number;
  state: "queued" | "sending" | "sent" | "failed";
  /** Whether it survives a reload; absent until the storage has answered. */
  kept?: boolean;
  error?: { code: string; message: string; field?: string; limit?: number; until?: number };
  seq?: number;
}

/** A file on its way, before it is a message. */
export interface Upload {
  ref: string;
  conversation: string;
  kind: string;
  blob: Blob;
  name: string;
  body: any;
  at: number;
  state: "uploading" | "waiting" | "failed";
  /** 0 to 1. */
  progress: number;
  /** Set it to be told the progress. */
  told?: (progress: number) => void;
  error?: { code: string; message: string; field?: string; limit?: number; until?: number };
}

export interface FileLink {
  file: string;
  name: string;
  type: string;
  size: number;
  url: string;
  /** Milliseconds since 1970 UTC. */
  expires_at: number;
  /** Smaller pictures, of pictures alone. */
  small?: string;
  large?: string;
  width?: number;
  height?: number;
}

/** Makes one HTTP request with a blob; rejects with `PutError`, whose status is 0 when nobody answered. */
export type Put = (
  request: { method: string; url: string; headers: Record<string, string> },
  blob: Blob,
  options: { progress: (bytes: number) => void; signal: AbortSignal },
) => Promise<void>;

export class PutError extends Error {
  constructor(status: number);
  status: number;
}

export const xhrPut: Put;

export interface Device {
  /** Opaque, 1–64 of `[A-Za-z0-9_-]`. Tabs of one browser may share it. */
  id: string;
  platform: string;
  name?: string;
}

/** Where unsent messages are remembered; `put` and `delete` are best effort and keep their order. */
export interface QueueStorage {
  load(user: string): Promise<object[]>;
  /** Resolves with whether the entry is now safe from a reload; never rejects. */
  put(entry: object): Promise<boolean>;
  delete(ref: string): void;
}

export interface Wire {
  send(text: string): void;
  close(): void;
}

export type Transport = (
  url: string,
  handlers: { opened(): void; received(text: string): void; closed(code: number): void },
) => Wire;

export interface Clock {
  /** Milliseconds of any steady clock. */
  now(): number;
  after(milliseconds: number, act: () => void): unknown;
  cancel(timer: unknown): void;
}

export interface ClientOptions {
  /** `wss://host/ws` */
  url: string | URL;
  /** Without a token the session is a guest's, who may only call `auth.*`. */
  token?: string;
  device: Device;
  /** Default: IndexedDB where there is one, else memory. */
  storage?: QueueStorage;
  /** Default: the global WebSocket. */
  transport?: Transport;
  clock?: Clock;
  random?: () => number;
  /** Default: XMLHttpRequest. */
  put?: Put;
}

/** Why a command was refused. `code` is one of the protocol's errors, or `closed`: the session is over. */
export class CallError extends Error {
  constructor(error: {
    code: string;
    message?: string;
    field?: string;
    limit?: number;
    retry_after?: number;
    details?: object;
  });
  code: string;
  field?: string;
  limit?: number;
  /** Seconds. */
  retryAfter?: number;
  /** What else the error's code brings with it. */
  details?: any;
}

export type ConnectionState = "stopped" | "connecting" | "live" | "waiting";

export interface ClientEvents {
  /** The connection: `retryAt` is of the client's clock. */
  state: { state: ConnectionState; retryAt?: number };
  welcome: Welcome;
  /** The session has ended for good: logged out (4401), banned (4403), replaced (4409), abuse (4400). */
  over: { code: number; reason: string };
  /** A message as it was pushed: new ones and new states of old ones; not what comes by sync. */
  message: Message;
  push: { event: string; data: any };
  note: { event: string; data: any };
  beat: { version: number; behind: boolean };
  /** Something was wrong and is mended: messages that had not come and were asked for. Worth a report. */
  debug: { kind: "gap"; conversation: string; seqs: number[]; found: number };
  /** The list of conversations has changed. */
  list: void;
  /** This conversation's entry or members have changed. */
  conversation: string;
  /** This conversation's messages, or the ones on their way to it, have changed. */
  messages: string;
  users: void;
  presence: void;
  /** Everything held was void (another epoch) and is loaded anew. */
  reset: void;
}

/**
 * A chat client. It connects, reconnects with jitter, resumes or syncs, acknowledges, and keeps a copy of the user's
 * conversations. Nothing has to be repeated by the caller: an unanswered call is repeated under its ref.
 */
export class ChatClient {
  constructor(options: ClientOptions);
  readonly state: ConnectionState;
  /** Known from the first welcome on; undefined for a guest. */
  readonly me: User | undefined;
  readonly limits: Record<string, number>;
  /** Whether a message or an upload that is not sent yet would be lost if the page went away now. */
  readonly fleeting: boolean;
  /** Ids of watched people who are online. */
  readonly online: ReadonlySet<string>;
  /** The server that one is connected to. */
  readonly node: string | undefined;
  /** How many messages had to be asked for because they had not come. */
  readonly repairs: number;
  /** The copy of what the user may see, for what is not named here. */
  readonly replica: Replica;
  readonly uploads: Uploads;
  readonly links: Links;
  /** The server's time in milliseconds since 1970 UTC. */
  serverNow(): number;

  start(): void;
  /** Closes the connection. What is unsent stays in the storage. */
  stop(): void;
  /** Tries now what would be tried after the back-off. */
  reconnect(): void;
  /** Returns the function that ends the listening. */
  on<E extends keyof ClientEvents>(event: E, listener: (detail: ClientEvents[E]) => void): () => void;

  /**
   * Any command of the protocol. Settles once: with the result, or with `CallError`. While there is no connection it
   * waits. The same `ref` while the first call is open gives the same promise.
   */
  call<R = any>(command: string, params?: object, options?: { ref?: string }): Promise<R>;

  /** Latest activity first, pinned above, hidden ones and direct chats without a message left out. */
  list(): Conversation[];
  conversation(id: string): Conversation | undefined;
  /** As far as known; an unknown one is asked for, and `users` tells when it has come. */
  user(id: string): User | undefined;
  /** Messages in order of `seq`, then what is on its way (nothing while the window is not at the end). */
  messages(id: string): { messages: readonly Message[]; pending: readonly (QueueEntry | Upload)[] };
  /**
   * Holds the messages of this conversation from now on; where none are held, loads the newest page (`limit` 1–100), or
   * that around the seq `around`.
   */
  open(id: string, limit?: number, around?: number): void;
  /** Loads a page of an open conversation; `messages` tells when it has come. */
  want(id: string, page: "older" | "newer" | "newest"): void;
  want(id: string, page: "around", seq: number): void;
  /** Holds the members of this conversation from now on, the first thousand. */
  loadMembers(id: string): void;

  /**
   * Puts a message into the queue, which survives a reload: in order per conversation, once per `ref`. Errors that may
   * pass are tried again; others leave the entry `failed`. Only after the first welcome.
   */
  send(
    conversation: string,
    kind: string,
    body: object,
    options?: { ref?: string; reply_to?: number; mentions?: string[] },
  ): QueueEntry;
  sendText(
    conversation: string,
    text: string,
    options?: { ref?: string; reply_to?: number; mentions?: string[] },
  ): QueueEntry;
  /**
   * Uploads a file straight into the store and then sends it. What may pass is tried again; `messages` tells of changes.
   * `body` is what the kind needs beside the file (`duration`, `text` …); `poster` a picture for a video.
   */
  attach(
    conversation: string,
    file: Blob,
    options?: { name?: string; kind?: "image" | "file" | "voice" | "video"; body?: object; poster?: Blob },
  ): Upload;
  /** The addresses of a file for some minutes, or undefined where it may not be read. */
  link(file: string): Promise<FileLink | undefined>;
  /** New addresses for a file whose present ones were refused. */
  renewLink(file: string): Promise<FileLink | undefined>;
  /** A failed upload goes as a plain file. */
  sendAsFile(ref: string): void;

  /** A failed message or upload once more, under its old ref. */
  retry(ref: string): void;
  /** Gives up a failed message, or an upload in any state. */
  discard(ref: string): void;

  edit(conversation: string, seq: number, body: object): Promise<void>;
  recall(conversation: string, seq: number): Promise<void>;
  react(conversation: string, seq: number, emoji: string, on: boolean): Promise<void>;
  /** Messages by their words, sender, kind and time, of all conversations or one. Rejects with code "unavailable" where the server indexes nothing. */
  search(wanted: MessageSearch): Promise<MessageHits>;
  /** Moves the read pointer forward; quick moves are told as one. */
  read(conversation: string, seq: number): void;
  /** Tells the others that one writes; at most every three seconds. */
  typing(conversation: string): void;
  openDirect(user: string): Promise<Conversation>;
  createGroup(name: string, members: string[]): Promise<Conversation>;
  setInbox(
    conversation: string,
    changes: { muted?: boolean; pinned?: boolean; hidden?: boolean; unread?: boolean },
  ): Promise<Conversation>;
  /** Comes into a group that one was invited to. */
  accept(conversation: string): Promise<Conversation>;
  /** Refuses that. */
  decline(conversation: string): Promise<void>;
  updateGroup(
    conversation: string,
    changes: { name?: string; avatar?: string; announcement?: string },
  ): Promise<void>;
  rename(name: string): Promise<User>;
  /** Uploads a picture and wears it in one's profile. */
  wear(picture: File): Promise<User>;
  /** Whose presence is to be told from now on: at most 200; replaces the former list. */
  watch(users: Iterable<string>): void;
}

/** 128 random bits as text: fit for refs and device ids. Works on plain-http origins too. */
export function newRef(): string;

export class MemoryStorage implements QueueStorage {
  load(user: string): Promise<object[]>;
  put(entry: object): Promise<boolean>;
  delete(ref: string): void;
}

export class IndexedDbStorage implements QueueStorage {
  constructor(name?: string);
  load(user: string): Promise<object[]>;
  put(entry: object): Promise<boolean>;
  delete(ref: string): void;
}

export function defaultStorage(): QueueStorage;

export const systemClock: Clock;
export const webSocketTransport: Transport;

// ---- the parts, for a client of another shape; none of them knows sockets or timers, save Connection ----

export type SessionEvent =
  | { type: "welcome"; welcome: Welcome }
  | { type: "push"; event: string; data: any }
  | { type: "lagged" }
  | { type: "note"; event: string; data: any }
  | { type: "beat"; version: number; behind: boolean }
  | { type: "reply"; ref: string; result: any }
  | { type: "error"; ref: string; error: { code: string; message?: string } }
  | { type: "silent" }
  | { type: "over"; code: number; reason: string };

/** One protocol session: fed with what is heard and the time, asked for frames and events. */
export class Session {
  constructor(options: { device: Device; token?: string });
  readonly state: "down" | "greeting" | "live" | "over";
  token?: string;
  connected(now: number): void;
  receive(text: string, now: number): void;
  lost(code: number): "resume" | "sync" | "never";
  end(reason: { code: number; reason: string }): void;
  call(ref: string, command: string, params: object): void;
  note(event: string, data: object): void;
  poll(now: number): void;
  doubt(now: number): void;
  deadline(): number | undefined;
  takeFrames(): object[];
  takeEvents(): SessionEvent[];
}

/** Keeps one session connected. */
export class Connection {
  constructor(options: {
    url: string;
    session: Session;
    told: (event: SessionEvent | { type: "state"; state: ConnectionState; retryAt?: number }) => void;
    transport?: Transport;
    clock?: Clock;
    random?: () => number;
  });
  readonly state: ConnectionState;
  start(): void;
  stop(): void;
  poke(): void;
  flush(): void;
}

/** Messages on their way out. */
export class SendQueue {
  constructor(storage: QueueStorage, owner: { user: string; tab: string; kept?: (entry: QueueEntry) => void });
  readonly entries: Map<string, QueueEntry>;
  readonly fleeting: boolean;
  adopt(living?: Set<string>): Promise<void>;
  add(message: { ref: string; conversation: string; kind: string; body: object }, now: number): QueueEntry;
  take(now: number): QueueEntry[];
  deadline(): number | undefined;
  sent(ref: string, receipt: Receipt): void;
  seen(ref: string): void;
  refused(ref: string, error: CallError, now: number): void;
  retry(ref: string, now: number): void;
  discard(ref: string): void;
  of(conversation: string): QueueEntry[];
}

/** Files on their way out: announced, put straight into the store, finished. */
export class Uploads {
  constructor(options: {
    call: (command: string, params: object) => Promise<any>;
    /** What relative links are relative to. */
    base: string;
    clock: Clock;
    /** Told the conversation of an upload that has changed. */
    changed: (conversation: string) => void;
    /** Told an upload whose `body.file` may now be sent. */
    finished: (upload: Upload) => void;
    put?: Put;
  });
  readonly all: ReadonlyMap<string, Upload>;
  add(
    conversation: string,
    blob: Blob,
    options?: { name?: string; kind?: string; body?: object; poster?: Blob },
  ): Upload;
  of(conversation: string): Upload[];
  /** Brings a file into the store that belongs to no conversation; resolves to its id. */
  send(blob: Blob, name?: string): Promise<string>;
  cancel(ref: string): void;
  retry(ref: string): void;
  /** Sends as a file what was refused as what it calls itself. */
  asFile(ref: string): void;
  wake(): void;
}

/** Addresses of files, asked for together and kept while they are valid. */
export class Links {
  constructor(options: {
    call: (command: string, params: object) => Promise<any>;
    base: string;
    /** The server's time. */
    now?: () => number;
  });
  get(file: string): Promise<FileLink | undefined>;
  /** Asks again: the one that is known was refused. */
  renew(file: string): Promise<FileLink | undefined>;
}

/** The client's copy of what its user may see: fed with events, asked for the calls that repair it. */
export class Replica {
  readonly conversations: Map<string, Conversation>;
  readonly users: Map<string, User>;
  readonly listed: boolean;
  welcomed(welcome: { resumed: boolean; epoch: string; user?: User }): void;
  lagged(): void;
  beaten(beat: { version: number; behind: boolean }): void;
  pushed(event: string, data: any): void;
  jobs(): { command: string; params: object; done(result: any): void; failed(error: CallError): void }[];
  takeChanges(): string[];
  list(): Conversation[];
  user(id: string): User | undefined;
  open(id: string, limit?: number, around?: number): void;
  want(id: string, page: string, seq?: number): void;
  loadMembers(id: string): void;
  read(id: string, seq: number): void;
}

/** What a list shows of a message: the same as the server's `head.preview`. */
export function preview(message: Message): Head["preview"];

// ---- texts ----

/** Part of a text: as it is, or something of its own. */
export type Piece =
  | string
  | { type: "bold" | "italic" | "strike"; children: Piece[] }
  | { type: "code"; text: string }
  | { type: "link"; href: string; text: string }
  | { type: "mention"; user: string; text: string };

export type Block =
  | { type: "text" | "quote"; children: Piece[] }
  | { type: "code"; lang: string; text: string }
  | { type: "bullets" | "numbers"; start: number; items: Piece[][] };

/** A range of a text, in UTF-16 units. */
export interface Mention {
  from: number;
  to: number;
  user: string;
}

/** The links of a text. */
export function links(text: string): { from: number; to: number; href: string }[];
/** A text of the format `markup` as a tree, never as HTML. */
export function parse(text: string, mentions?: Mention[]): Block[];
/** A text without a format: its links and mentions. */
export function plainPieces(text: string, mentions?: Mention[]): Piece[];
/** The text without its marks. */
export function plain(text: string): string;
/** Whether the marks of a text would change how it is drawn. */
export function isMarked(text: string): boolean;
