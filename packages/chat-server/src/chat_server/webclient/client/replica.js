/**
 * The client's copy of what its user may see, kept right by pushes and repaired by sync.
 *
 * Without input or output of its own: it is fed with what the session heard (`welcomed`, `pushed`, `lagged`, `beaten`)
 * and asked for calls to make (`jobs`), whose answers it takes. `changes` collects what has changed since last asked.
 */
import { preview } from "./preview.js";
import { Timeline } from "./timeline.js";

/** Beyond so many missed stamps the newest page is taken instead of every change. */
const FAR_BEHIND = 500;
const PAGE = 50;
/** Members that are held of one conversation at most. */
const MEMBERS = 1000;
/** Conversations whose messages are kept; the ones opened longest ago are let go. */
const KEPT = 12;

export class Replica {
  #generation = 0;
  #listing;
  #owed = false; // a sync by version is owed
  #syncing = false;
  #asked = new Set(); // user ids on their way
  #wantedUsers = new Set();
  #lacking = new Set(); // conversations of mine that are on no page of the list: hot ones that moved up while it was read
  #jobs = [];
  #changed = new Set();
  #repaired;

  /** @param {(gap: {conversation: string, seqs: number[], found: number}) => void} [repaired] told of each gap */
  constructor(repaired = () => {}) {
    this.#repaired = repaired;
    this.me = undefined;
    this.epoch = undefined;
    this.version = undefined;
    this.listed = false; // whether the whole list has been read
    this.conversations = new Map();
    this.users = new Map();
    this.opened = []; // conversation ids, latest last
  }

  // ---- fed ----

  welcomed({ resumed, epoch, user }) {
    if (user) {
      this.me = user;
      this.#user(user);
    }
    if (this.epoch !== undefined && epoch !== this.epoch) this.startOver();
    else if (this.version === undefined) this.#listing ??= { cursor: undefined, flying: false };
    else if (!resumed) this.lagged();
    this.epoch = epoch;
  }

  /** Something may be missing anywhere: sync everything that is held. */
  lagged() {
    this.#owed = true;
    for (const { timeline } of this.conversations.values()) if (timeline) timeline.resync = true;
  }

  beaten({ version, behind }) {
    if (behind) this.#owed = true;
    else if (!this.#owed && !this.#syncing && this.version !== undefined && version > this.version) this.version = version;
  }

  pushed(event, data) {
    switch (event) {
      case "message":
        this.#step(data, { messages: [data] });
        break;
      case "members":
        this.#step(data, { members: data.members });
        break;
      case "conversation":
        this.#step(data, { conversation: data });
        break;
      case "inbox":
        this.inbox(data, false);
        break;
      case "user":
        this.#user(data.user && typeof data.user === "object" ? data.user : data);
        break;
      default: // events of later versions
    }
  }

  /** Everything held is void (another epoch): begin again from an empty copy. */
  startOver() {
    this.#generation += 1;
    this.epoch = undefined;
    this.version = undefined;
    this.listed = false;
    this.conversations.clear();
    this.#owed = false;
    this.#syncing = false;
    this.#jobs = [];
    this.#asked.clear();
    this.#lacking.clear();
    this.#listing = { cursor: undefined, flying: false };
    this.#change("list", "reset");
  }

  // ---- asked ----

  /** Calls to make now; each is `{command, params, done(result), failed(error)}`. */
  jobs() {
    this.#plan();
    return this.#jobs.splice(0);
  }

  /** Names of what has changed: "list", "reset", "users", "conversation:ID", "messages:ID". */
  takeChanges() {
    const changed = [...this.#changed];
    this.#changed.clear();
    return changed;
  }

  /** The user of that id as far as known; an unknown one is asked for. */
  user(id) {
    const known = this.users.get(id);
    if (!known && !this.#asked.has(id)) this.#wantedUsers.add(id);
    return known;
  }

  /** Latest activity first, pinned ones above; without hidden ones and untouched direct chats. */
  list() {
    return [...this.conversations.values()]
      .filter((one) => !one.hidden && (one.kind !== "direct" || one.head.seq > 0))
      .sort((a, b) => Number(b.pinned) - Number(a.pinned) || b.order - a.order || (a.id < b.id ? -1 : 1));
  }

  // ---- the messages of a conversation ----

  /** Holds this conversation's messages from now on; loads its newest page, or that around a seq, where nothing is held. */
  open(id, limit = PAGE, around = undefined) {
    this.opened = [...this.opened.filter((other) => other !== id), id];
    const conversation = this.conversations.get(id);
    if (!conversation) return;
    if (!conversation.timeline) {
      conversation.timeline = new Timeline();
      conversation.timeline.want = { page: around === undefined ? "newest" : "around", seq: around, limit };
      if (conversation.kind === "direct") this.loadMembers(id); // how far the other one has read
      else this.#info(conversation);
    }
    for (const old of this.opened.splice(0, Math.max(0, this.opened.length - KEPT))) {
      const let_go = this.conversations.get(old);
      if (let_go) let_go.timeline = undefined;
    }
  }

  /** Wants a page: "older", "newer", "newest", or "around" with a seq. */
  want(id, page, seq) {
    const timeline = this.conversations.get(id)?.timeline;
    if (!timeline || timeline.loading || timeline.want) return;
    if (page === "older" && timeline.atStart) return;
    if (page === "newer" && timeline.atEnd) return;
    timeline.want = { page, seq, limit: PAGE };
  }

  /** Holds the members of a conversation from now on. */
  loadMembers(id) {
    const conversation = this.conversations.get(id);
    if (!conversation || conversation.members) return;
    conversation.members = new Map();
    conversation.membersLoaded = false;
    this.#memberPage(conversation, undefined);
  }

  // ---- rows from anywhere ----

  /** @param complete whether the row may know of stamps that no push will bring: one from a sync, not a pushed one */
  inbox(row, complete = true) {
    const held = this.conversations.get(row.conversation);
    if (held?.version !== undefined && row.version !== undefined && row.version < held.version) return held;
    const { conversation: id, head = { seq: 0, rev: 0, time: 0 }, unread = 0, ...rest } = row;
    const one = held ?? { id, floor: 0, pinned: false, head, peerRead: 0, infoRev: 0 };
    // By seq first: a change of an older message may have brought its rev before the newest message came.
    if (head.seq > one.head.seq || (head.seq === one.head.seq && head.rev > one.head.rev)) {
      one.head = { ...head, rev: Math.max(head.rev, one.head.rev) };
    }
    // Everything up to `floor` is read, unseen by right, or older than what I said last.
    one.floor = Math.max(one.floor, unread > 0 ? head.seq - unread : head.seq);
    Object.assign(one, { mentioned: undefined, muted: false, pinned: false, marked_unread: false, hidden: false, left: false, pending: false, invited_by: undefined }, rest);
    one.pinned = Boolean(one.pinned);
    this.conversations.set(id, one);
    this.#beginAt(one, Math.max(rest.first_seq ?? 1, one.firstKept ?? 1));
    this.#count(one);
    if (rest.peer) this.#user(rest.peer);
    if (head.preview) this.#heard(one, head.preview);
    if (rest.invited_by) this.#user(rest.invited_by);
    if (one.timeline && complete) one.timeline.seen = Math.max(one.timeline.seen, head.rev);
    else if (!held && this.opened.includes(id)) this.open(id);
    this.#change("list", `conversation:${id}`);
    return one;
  }

  /** Rows of one conversation, from a push, a sync page or a reply. */
  rows(id, { messages = [], members = [], conversation }) {
    const one = this.conversations.get(id);
    if (!one) return;
    for (const message of messages) {
      if (one.timeline?.apply(message)) this.#change(`messages:${id}`);
      this.#head(one, message);
    }
    for (const member of members) this.#member(one, member);
    if (members.length > 0 && one.kind === "group" && one.count !== undefined) this.#info(one); // its count has changed
    if (conversation && conversation.rev >= one.infoRev) {
      one.infoRev = conversation.rev;
      one.count = conversation.members;
      one.announcement = conversation.announcement;
      one.silencedUntil = conversation.muted_until;
      one.keptDays = conversation.kept_days;
      if (conversation.first_seq > 1) this.#deletedBefore(one, conversation.first_seq);
      if (one.kind === "group") Object.assign(one, { name: conversation.name, avatar: conversation.avatar });
      this.#change("list", `conversation:${id}`);
    }
  }

  /** An invitation that was declined: nothing of the conversation is mine any more. */
  forget(id) {
    if (this.conversations.delete(id)) this.#change("list", `conversation:${id}`);
  }

  /** My read pointer is at least here. */
  read(id, seq) {
    const one = this.conversations.get(id);
    if (!one || seq <= one.floor) return;
    one.floor = seq;
    this.#count(one);
    this.#change("list", `conversation:${id}`);
  }

  // ---- inside ----

  #change(...names) {
    for (const name of names) this.#changed.add(name);
  }

  #user(user) {
    this.users.set(user.user, { ...this.users.get(user.user), ...user });
    this.#asked.delete(user.user);
    if (this.me?.user === user.user) this.me = this.users.get(user.user);
    for (const one of this.conversations.values()) if (one.peer?.user === user.user) one.peer = this.users.get(user.user);
    this.#change("users", "list");
  }

  #step(data, rows) {
    const one = this.conversations.get(data.conversation);
    if (!one) {
      this.#owed = true; // a conversation that is new to me: its row stands in my inbox
      return;
    }
    const { timeline } = one;
    if (!timeline || timeline.step(data.rev, data.since)) this.rows(one.id, rows);
    // A hole, or not loaded yet: sync brings the rows. The list needs not wait for them.
    else if (rows.messages) for (const message of rows.messages) this.#head(one, message);
  }

  /** Before the peer of a direct chat has written, the server tells nobody of that peer's presence. */
  #heard(one, { kind, sender }) {
    if (one.peerSpoke || kind === "system" || one.kind !== "direct" || sender !== one.peer?.user) return;
    one.peerSpoke = true;
    this.#change(`known:${sender}`, `conversation:${one.id}`);
  }

  #head(one, message) {
    this.#heard(one, message);
    const mine = message.sender === this.me?.user;
    if (message.seq > one.head.seq) {
      one.head = { seq: message.seq, rev: message.rev, time: message.time, preview: preview(message), shown: message.rev };
      if (mine) one.floor = Math.max(one.floor, message.seq);
      else if (message.mentions?.some((id) => id === "@all" || id === this.me?.user)) one.mentioned = message.seq;
      one.order = Math.max(one.order ?? 0, one.order > 1e12 ? message.time : this.#top() + 1);
      one.hidden = false;
    } else if (message.seq === one.head.seq && message.rev >= (one.head.shown ?? 0)) {
      const rev = Math.max(one.head.rev, message.rev);
      one.head = { ...one.head, rev, preview: preview(message), shown: message.rev };
    } else if (message.rev > one.head.rev) {
      one.head = { ...one.head, rev: message.rev };
    } else {
      return;
    }
    this.#count(one);
    this.#change("list", `conversation:${one.id}`);
  }

  #top() {
    let top = 0;
    for (const { order = 0 } of this.conversations.values()) top = Math.max(top, order);
    return top;
  }

  #count(one) {
    one.unread = Math.max(0, one.head.seq - one.floor);
    if (one.mentioned !== undefined && one.mentioned <= one.floor) one.mentioned = undefined;
  }

  /** Messages before this one were deleted for everybody: they are neither held, nor quoted, nor unread. */
  #deletedBefore(one, first) {
    if (first <= (one.firstKept ?? 1)) return;
    one.firstKept = first;
    one.floor = Math.max(one.floor, first - 1);
    const { preview: line, ...head } = one.head;
    if (line && head.seq < first) one.head = head;
    one.timeline?.forgetQuotes(first);
    this.#beginAt(one, first);
    this.#count(one);
  }

  /** There is nothing for me before this number (any more). */
  #beginAt(one, first) {
    const later = one.spans?.find(([, to]) => to === undefined || to >= first);
    one.first_seq = Math.max(one.first_seq ?? 1, first, later?.[0] ?? 1);
    if (one.timeline?.beginAt(one.first_seq)) this.#change(`messages:${one.id}`);
  }

  #member(one, member) {
    const id = member.user.user;
    const held = one.members?.get(id);
    if (held && held.rev > member.rev) return;
    one.members?.set(id, member);
    this.#user(member.user);
    if (one.kind === "direct" && member.read !== undefined) {
      if (id === this.me?.user) this.read(one.id, member.read);
      else if (member.read > one.peerRead) {
        one.peerRead = member.read;
        this.#change(`messages:${one.id}`);
      }
    }
    if (id === this.me?.user) {
      one.role = member.role;
      one.spans = member.spans;
      one.mutedUntil = member.muted_until;
      one.left = member.spans.length > 0 && member.spans.at(-1).length > 1;
    }
    this.#change(`conversation:${one.id}`);
  }

  // ---- calls to make ----

  #job(command, params, done, failed = () => {}) {
    const generation = this.#generation;
    const current = (act) => (value) => generation === this.#generation && act(value);
    this.#jobs.push({
      command,
      params,
      done: current(done),
      failed: current((error) => {
        if (error.code === "epoch_changed") this.startOver();
        else failed(error);
      }),
    });
  }

  #plan() {
    if (this.#listing && !this.#listing.flying) this.#list();
    if (this.#owed && !this.#syncing && !this.#listing && this.version !== undefined) this.#sync();
    for (const one of this.conversations.values()) {
      const { timeline } = one;
      if (!timeline || timeline.loading) continue;
      if (timeline.owed && timeline.want?.page !== "newest") this.#syncConversation(one, timeline);
      else if (timeline.want) this.#page(one, timeline);
      else this.#repair(one, timeline);
    }
    if (this.#lacking.size > 0 && !this.#syncing) this.#missingRows();
    if (this.#wantedUsers.size > 0) {
      const users = [...this.#wantedUsers].slice(0, 50);
      for (const id of users) {
        this.#wantedUsers.delete(id);
        this.#asked.add(id); // and stays there when unknown, so that it is not asked for again
      }
      this.#job("user.get", { users }, (result) => result.users.forEach((user) => this.#user(user)));
    }
  }

  #info(one) {
    if (one.asking) return;
    one.asking = true;
    const asked = () => (one.asking = false);
    this.#job("group.get", { conversation: one.id }, (info) => asked() || this.rows(one.id, { conversation: info }), asked);
  }

  #list() {
    const listing = this.#listing;
    listing.flying = true;
    const params = listing.cursor === undefined ? { limit: 100 } : { limit: 100, cursor: listing.cursor };
    this.#job("inbox.list", params, (result) => {
      for (const row of result.inbox) this.inbox(row);
      // The first page's number: whatever changed while the others were read lies after it.
      listing.version ??= result.version;
      this.epoch = result.epoch;
      listing.cursor = result.cursor;
      listing.flying = false;
      this.#change("list");
      if (result.cursor !== undefined) return;
      this.version = listing.version;
      this.#listing = undefined;
      this.#owed = true;
      this.listed = true;
    });
  }

  #sync() {
    this.#owed = false;
    this.#syncing = true;
    this.#job(
      "sync",
      { epoch: this.epoch, version: this.version, limit: 100 },
      (result) => {
        this.#syncing = false;
        for (const row of result.inbox ?? []) this.inbox(row);
        for (const hot of result.hot ?? []) this.#hot(hot);
        this.version = result.version;
        if (result.more) this.#owed = true;
      },
      () => {
        this.#syncing = false;
      },
    );
  }

  #missingRows() {
    const conversations = [...this.#lacking].slice(0, 100);
    for (const id of conversations) this.#lacking.delete(id); // on their way; after a refusal the next sync names them again
    this.#job("inbox.list", { conversations }, (result) => result.inbox.forEach((row) => this.inbox(row)));
  }

  #hot({ conversation, rev, seq }) {
    const one = this.conversations.get(conversation);
    if (!one) {
      this.#lacking.add(conversation);
      return;
    }
    if (one.timeline) one.timeline.seen = Math.max(one.timeline.seen, rev);
    if (seq > one.head.seq) one.head = { ...one.head, seq, rev };
    this.#count(one);
    this.#change("list", `conversation:${one.id}`);
  }

  #syncConversation(one, timeline) {
    if (timeline.seen - timeline.rev > FAR_BEHIND) {
      if (one.members) {
        one.members = undefined;
        this.loadMembers(one.id);
      }
      timeline.want = { page: "newest", limit: PAGE };
      this.#page(one, timeline);
      return;
    }
    timeline.loading = true;
    timeline.resync = false;
    const from = timeline.rev;
    this.#job(
      "sync",
      { epoch: this.epoch, conversation: one.id, rev: from, limit: 100 },
      (result) => {
        timeline.loading = false;
        timeline.rev = Math.max(timeline.rev, result.rev);
        this.rows(one.id, result);
        timeline.loose.clear();
        if (result.more) timeline.resync = true;
        else if (result.rev === from) timeline.seen = timeline.rev; // there is no more for me (I have left)
      },
      (error) => this.#gone(one, timeline, error),
    );
  }

  #page(one, timeline) {
    const { page, seq, limit = PAGE } = timeline.want;
    timeline.want = undefined;
    timeline.loading = true;
    timeline.beginAt(one.first_seq);
    const params = { conversation: one.id, limit };
    if (page === "older") params.before = timeline.messages[0]?.seq;
    if (page === "newer") params.after = timeline.messages.at(-1)?.seq;
    if (page === "around") params.before = Math.max(seq, one.first_seq ?? 1) + Math.floor(limit / 2);
    this.#job(
      "history",
      params,
      (result) => {
        timeline.loaded(page, result);
        this.#beginAt(one, result.first_seq);
        for (const message of result.messages) this.#head(one, message);
        this.#change(`messages:${one.id}`, `conversation:${one.id}`);
      },
      (error) => this.#gone(one, timeline, error),
    );
  }

  /**
   * The second line of defence. Numbers have no gaps: a seq that I may see, that must have come by now and that is not
   * held was lost on its way, whoever's fault it is. It is asked for by `history`, once, and reported.
   */
  #repair(one, timeline) {
    const gap = timeline.gap(one.spans, one.head);
    if (!gap) return;
    timeline.loading = true;
    const asked = gap.to - gap.from + 1;
    this.#job(
      "history",
      { conversation: one.id, after: gap.from - 1, limit: Math.min(100, asked) },
      ({ messages }) => {
        timeline.loading = false;
        const found = messages.filter(({ seq }) => seq <= gap.to);
        this.rows(one.id, { messages: found });
        const end = messages.length > found.length || asked <= 100 ? gap.to : (found.at(-1)?.seq ?? gap.to);
        timeline.settle(gap.from, end);
        const seqs = Array.from({ length: end - gap.from + 1 }, (_, n) => gap.from + n);
        this.#repaired({ conversation: one.id, seqs, found: found.length });
      },
      (error) => {
        timeline.settle(gap.from, gap.to);
        this.#gone(one, timeline, error);
      },
    );
  }

  #gone(one, timeline, error) {
    timeline.loading = false;
    timeline.want = undefined;
    timeline.resync = false;
    timeline.seen = timeline.rev ?? 0;
    if (error.code !== "not_found") return;
    this.conversations.delete(one.id);
    this.#change("list", `conversation:${one.id}`);
  }

  #memberPage(one, cursor) {
    const params = { conversation: one.id, limit: 100 };
    if (cursor !== undefined) params.cursor = cursor;
    this.#job("group.members", params, (result) => {
      for (const member of result.members) this.#member(one, member);
      if (result.cursor !== undefined && one.members.size < MEMBERS) this.#memberPage(one, result.cursor);
      else one.membersLoaded = true;
      this.#change(`conversation:${one.id}`);
    });
  }
}
