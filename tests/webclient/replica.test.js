import assert from "node:assert/strict";
import { test } from "node:test";
import { preview, Replica } from "../../packages/chat-server/src/chat_server/webclient/chat-client.js";

const me = { user: "me", name: "Me" };
const text = (seq, rev = seq, extra = {}) => ({ conversation: "c", seq, rev, sender: "bob", ref: `r${seq}`, kind: "text", body: { text: `m${seq}` }, time: 1e12 + seq, ...extra });
const row = (extra = {}) => ({ conversation: "c", version: 1, kind: "group", name: "C", spans: [[1]], first_seq: 1, head: { seq: 2, rev: 2, time: 1e12 }, read: 0, unread: 2, role: "member", order: 1e12, ...extra });

/** A replica that has read its list; the conversation "c" is open and holds messages 1 and 2. */
function ready(inbox = [row()], repaired = undefined) {
  const replica = new Replica(repaired);
  replica.welcomed({ resumed: false, epoch: "e", version: 5, user: me });
  answer(replica, "inbox.list", { inbox, version: 5, epoch: "e" });
  answer(replica, "sync", { epoch: "e", version: 5, more: false, inbox: [], hot: [] });
  replica.open("c");
  for (const job of replica.jobs()) {
    if (job.command === "history") job.done({ messages: [text(1), text(2)], first_seq: 1, head: { seq: 2, rev: 2 } });
    if (job.command === "group.get") job.done({ conversation: "c", rev: 1, kind: "group", name: "C", members: 2 });
  }
  replica.jobs().forEach((job) => assert.equal(job.command, "user.get"));
  return replica;
}

function answer(replica, command, result) {
  const jobs = replica.jobs();
  assert.deepEqual(jobs.map((job) => job.command), [command]);
  jobs[0].done(result);
  return jobs[0].params;
}

const shown = (replica) => replica.conversations.get("c").timeline.messages.map(({ seq, body }) => `${seq}:${body?.text ?? "-"}`);
const commands = (replica) => replica.jobs().map(({ command, params }) => [command, params]);

test("applies the next stamp, drops an old one, syncs on a jump", () => {
  const replica = ready();
  replica.pushed("message", text(3));
  replica.pushed("message", text(3, 3, { body: { text: "again" } }));
  assert.deepEqual(shown(replica), ["1:m1", "2:m2", "3:m3"]);
  replica.pushed("message", text(5));
  assert.deepEqual(shown(replica), ["1:m1", "2:m2", "3:m3"]);
  assert.equal(replica.conversations.get("c").head.seq, 5); // the list need not wait
  const params = answer(replica, "sync", { rev: 5, more: false, messages: [text(4), text(5)], members: [] });
  assert.deepEqual(params, { epoch: "e", conversation: "c", rev: 3, limit: 100 });
  assert.deepEqual(shown(replica).at(-1), "5:m5");
  assert.deepEqual(commands(replica), []);
});

test("since covers several steps", () => {
  const replica = ready();
  replica.pushed("message", { ...text(3, 6), since: 2 });
  assert.deepEqual(shown(replica).at(-1), "3:m3");
  assert.deepEqual(commands(replica), []);
});

test("what is pushed while a sync is on its way is synced again where the answer does not reach it", () => {
  const replica = ready();
  replica.pushed("message", text(4));
  const [job] = replica.jobs();
  replica.pushed("message", text(5));
  assert.deepEqual(replica.jobs(), []);
  job.done({ rev: 4, more: false, messages: [text(3), text(4)], members: [] });
  answer(replica, "sync", { rev: 5, more: false, messages: [text(5)], members: [] });
  assert.deepEqual(shown(replica).slice(-3), ["3:m3", "4:m4", "5:m5"]);
});

test("an edit replaces, a recall empties, an older state of a row never comes back", () => {
  const replica = ready();
  replica.pushed("message", text(1, 3, { body: { text: "edited" } }));
  replica.pushed("message", { ...text(2, 4), body: undefined, recalled: { by: "bob", time: 1 } });
  replica.rows("c", { messages: [text(1)] });
  assert.deepEqual(shown(replica), ["1:edited", "2:-"]);
  assert.equal(replica.conversations.get("c").head.preview.kind, "recalled");
});

test("an edit that comes while an older page is on its way is not undone by that page", () => {
  const replica = ready([row({ first_seq: 1, head: { seq: 4, rev: 4, time: 1 }, unread: 0 })]);
  const { timeline } = replica.conversations.get("c");
  timeline.messages = [text(3), text(4)];
  timeline.rev = timeline.seen = 4;
  timeline.atStart = false;
  replica.want("c", "older");
  const [job] = replica.jobs();
  assert.equal(job.params.before, 3);
  replica.pushed("message", text(1, 5, { body: { text: "edited" } }));
  job.done({ messages: [text(1), text(2)], first_seq: 1, head: { seq: 4, rev: 4 } });
  assert.deepEqual(shown(replica), ["1:edited", "2:m2", "3:m3", "4:m4"]);
});

test("takes its version from beats and syncs, but not from a beat while a sync is owed", () => {
  const replica = ready();
  replica.pushed("message", text(3));
  assert.equal(replica.version, 5);
  replica.beaten({ version: 6, behind: false });
  assert.equal(replica.version, 6);
  replica.welcomed({ resumed: false, epoch: "e", version: 9, user: me });
  replica.beaten({ version: 9, behind: false });
  const jobs = replica.jobs();
  assert.deepEqual(jobs.map(({ params }) => params), [
    { epoch: "e", version: 6, limit: 100 },
    { epoch: "e", conversation: "c", rev: 3, limit: 100 },
  ]);
  replica.beaten({ version: 10, behind: false });
  assert.equal(replica.version, 6);
  jobs[0].done({ epoch: "e", version: 9, more: false, inbox: [], hot: [] });
  replica.beaten({ version: 10, behind: false });
  assert.equal(replica.version, 10);
});

test("lagged, behind and a refused resume owe a sync; one that is owed during another is not forgotten", () => {
  const replica = ready();
  replica.lagged();
  const [byVersion, byRoom] = replica.jobs();
  replica.lagged();
  byVersion.done({ epoch: "e", version: 6, more: false, inbox: [], hot: [] });
  byRoom.done({ rev: 2, more: false, messages: [], members: [] });
  assert.deepEqual(commands(replica).map(([command]) => command), ["sync", "sync"]);
  const calm = ready();
  calm.beaten({ version: 7, behind: true });
  assert.deepEqual(commands(calm), [["sync", { epoch: "e", version: 5, limit: 100 }]]);
});

test("a resumed welcome owes nothing", () => {
  const replica = ready();
  replica.welcomed({ resumed: true, epoch: "e", version: 9, user: me });
  assert.deepEqual(commands(replica), []);
});

test("another epoch starts over, whether a welcome or an answer says so", () => {
  for (const tell of [
    (replica) => replica.welcomed({ resumed: false, epoch: "other", version: 1, user: me }),
    (replica) => {
      replica.lagged();
      replica.jobs()[0].failed({ code: "epoch_changed" });
    },
  ]) {
    const replica = ready();
    tell(replica);
    assert.deepEqual(replica.list(), []);
    answer(replica, "inbox.list", { inbox: [row()], version: 1, epoch: "other" });
    const params = replica.jobs().map((job) => job.params);
    assert.ok(params.some(({ epoch, version }) => epoch === "other" && version === 1));
    assert.ok(params.some(({ conversation, limit }) => conversation === "c" && limit === 50)); // what was open is loaded again
  }
});

test("an answer to a question of the old epoch is nothing any more", () => {
  const replica = ready();
  replica.lagged();
  const [job] = replica.jobs();
  replica.startOver();
  job.done({ epoch: "e", version: 99, more: false, inbox: [row()], hot: [] });
  assert.equal(replica.version, undefined);
  assert.deepEqual(replica.list(), []);
});

test("far behind: the newest page instead of every change", () => {
  const replica = ready();
  replica.pushed("message", text(2000));
  const page = Array.from({ length: 50 }, (_, n) => text(1951 + n));
  const params = answer(replica, "history", { messages: page, first_seq: 1, head: { seq: 2000, rev: 2000 } });
  assert.deepEqual(params, { conversation: "c", limit: 50 });
  const { timeline } = replica.conversations.get("c");
  assert.equal(timeline.messages.length, 50);
  assert.equal(timeline.rev, 2000);
  assert.equal(timeline.owed, false);
});

test("unread and mentions are counted from the head; own messages and reading end them", () => {
  const replica = ready();
  const one = replica.conversations.get("c");
  assert.equal(one.unread, 2);
  replica.pushed("message", text(3, 3, { mentions: ["me"] }));
  assert.deepEqual([one.unread, one.mentioned], [3, 3]);
  replica.read("c", 2);
  assert.deepEqual([one.unread, one.mentioned], [1, 3]);
  replica.pushed("message", text(4, 4, { sender: "me" }));
  assert.deepEqual([one.unread, one.mentioned], [0, undefined]);
  replica.inbox(row({ version: 9, head: { seq: 4, rev: 4, time: 1 }, read: 2, unread: 0 }));
  replica.pushed("message", text(5));
  assert.equal(one.unread, 1);
});

test("an inbox row that is older than what is held changes nothing", () => {
  const replica = ready();
  replica.inbox(row({ version: 7, muted: true, head: { seq: 2, rev: 2, time: 1 } }));
  replica.inbox(row({ version: 6, muted: false }));
  assert.equal(replica.conversations.get("c").muted, true);
});

test("an inbox row that was read before a message came does not take the message back", () => {
  const replica = ready();
  replica.pushed("message", text(3));
  replica.inbox(row({ version: 8 }));
  const one = replica.conversations.get("c");
  assert.deepEqual([one.head.seq, one.unread], [3, 3]);
});

test("a pushed row needs no sync: the stamps that it counts are pushed too; a row of a sync may need one", () => {
  const replica = ready();
  replica.pushed("inbox", row({ version: 8, read: 2, unread: 0, head: { seq: 2, rev: 3, time: 1 } }));
  assert.deepEqual(commands(replica), []);
  replica.beaten({ version: 9, behind: true });
  answer(replica, "sync", { epoch: "e", version: 9, more: false, inbox: [row({ version: 9, head: { seq: 2, rev: 4, time: 1 } })], hot: [] });
  assert.deepEqual(commands(replica), [["sync", { epoch: "e", conversation: "c", rev: 2, limit: 100 }]]);
});

test("a message of an unknown conversation asks for its row", () => {
  const replica = ready();
  replica.pushed("message", { ...text(1), conversation: "new" });
  answer(replica, "sync", { epoch: "e", version: 6, more: false, inbox: [row({ conversation: "new", kind: "direct", peer: { user: "eve", name: "Eve" }, version: 6, order: 2e12 })], hot: [] });
  assert.equal(replica.list()[0].id, "new");
  assert.equal(replica.user("eve").name, "Eve");
});

test("a hot room's head is followed, and synced where its messages are held", () => {
  const replica = ready();
  replica.beaten({ version: 5, behind: true });
  answer(replica, "sync", { epoch: "e", version: 5, more: false, inbox: [], hot: [{ conversation: "c", rev: 4, seq: 4 }] });
  assert.equal(replica.conversations.get("c").unread, 4);
  answer(replica, "sync", { rev: 4, more: false, messages: [text(3), text(4)], members: [] });
});

test("one who has left, whose sync goes no further, does not ask for ever", () => {
  const replica = ready();
  replica.pushed("message", text(9));
  answer(replica, "sync", { rev: 2, more: false, messages: [], members: [] });
  assert.deepEqual(commands(replica), []);
});

test("unknown people are asked for once, fifty at a time, also those who do not exist", () => {
  const replica = ready();
  for (let n = 0; n < 60; n += 1) replica.user(`u${n}`);
  const [first] = replica.jobs();
  assert.equal(first.params.users.length, 50);
  first.done({ users: [{ user: "u0", name: "Zero" }] });
  assert.equal(replica.jobs()[0].params.users.length, 10);
  replica.user("u1");
  assert.deepEqual(replica.jobs(), []);
  assert.equal(replica.user("u0").name, "Zero");
});

test("the other one's reading shows in a direct chat", () => {
  const replica = ready([row({ kind: "direct", name: undefined, peer: { user: "bob", name: "Bob" } })]);
  const member = (user, read, rev) => ({ conversation: "c", rev, user: { user, name: user }, role: "member", spans: [[1]], joined_at: 1, read });
  replica.jobs();
  replica.pushed("members", { conversation: "c", rev: 3, members: [member("bob", 2, 3)] });
  assert.equal(replica.conversations.get("c").peerRead, 2);
  replica.pushed("members", { conversation: "c", rev: 4, members: [member("me", 1, 4)] });
  assert.equal(replica.conversations.get("c").unread, 1);
});

test("a message that never came is asked for when everything else has, once, and is reported", () => {
  const gaps = [];
  const replica = ready([row()], (gap) => gaps.push(gap));
  replica.pushed("members", { conversation: "c", rev: 3, members: [] }); // the stamp of message 3, without it
  assert.deepEqual(commands(replica), []); // nothing is known to be missing yet
  replica.pushed("message", text(4));
  const params = answer(replica, "history", { messages: [text(3)], first_seq: 1, head: { seq: 4, rev: 4 } });
  assert.deepEqual(params, { conversation: "c", after: 2, limit: 1 });
  assert.deepEqual(shown(replica), ["1:m1", "2:m2", "3:m3", "4:m4"]);
  assert.deepEqual(gaps, [{ conversation: "c", seqs: [3], found: 1 }]);
  assert.deepEqual(commands(replica), []);
});

test("so is the newest one, where the list knows of it and every change up to it has come", () => {
  const gaps = [];
  const replica = ready([row()], (gap) => gaps.push(gap));
  replica.pushed("inbox", row({ version: 2, head: { seq: 3, rev: 3, time: 1e12 }, unread: 3 }));
  assert.deepEqual(commands(replica), []); // its push may still come
  replica.pushed("members", { conversation: "c", rev: 3, members: [] });
  answer(replica, "history", { messages: [text(3)], first_seq: 1, head: { seq: 3, rev: 3 } });
  assert.deepEqual(shown(replica).at(-1), "3:m3");
  assert.equal(gaps.length, 1);
});

test("holes between my spans are no gaps, and what nobody has is asked for once", () => {
  const gaps = [];
  const replica = ready([row({ spans: [[1, 2], [5]] })], (gap) => gaps.push(gap));
  replica.pushed("message", text(5, 3));
  assert.deepEqual(commands(replica), []);
  replica.pushed("message", text(8, 4));
  const params = answer(replica, "history", { messages: [text(8, 4)], first_seq: 1, head: { seq: 8, rev: 4 } });
  assert.deepEqual(params, { conversation: "c", after: 5, limit: 2 });
  assert.deepEqual(gaps, [{ conversation: "c", seqs: [6, 7], found: 0 }]);
  replica.pushed("message", text(9, 5));
  assert.deepEqual(commands(replica), []);
});

test("nothing is asked for as long as a sync is owed", () => {
  const replica = ready([row()], () => assert.fail("no gap"));
  replica.pushed("message", text(4)); // 3 is on its way: the stamp jumps
  answer(replica, "sync", { rev: 4, more: true, messages: [text(4)], members: [] });
  answer(replica, "sync", { rev: 5, more: false, messages: [text(3, 5)], members: [] });
  assert.deepEqual(shown(replica), ["1:m1", "2:m2", "3:m3", "4:m4"]);
});

test("a preview says what the server's says: one line, cut, captions, names of files, events", () => {
  const said = (kind, body, extra = {}) => preview({ sender: "bob", kind, body, ...extra });
  assert.deepEqual(said("text", { text: " a\n\n b\tc " }), { sender: "bob", kind: "text", text: "a b c" });
  assert.equal(said("text", { text: "x".repeat(150) }).text, `${"x".repeat(99)}…`);
  assert.equal(said("text", { text: "**now** `x`", format: "markup" }).text, "now x");
  assert.equal(said("text", { text: "**now**" }).text, "**now**");
  assert.equal(said("image", { text: "the sea", name: "a.png" }).text, "the sea");
  assert.equal(said("file", { text: "the plan", name: "a.pdf" }).text, "a.pdf");
  assert.equal(said("system", { event: "group.left", actor: "bob" }).text, "group.left");
  assert.deepEqual(said("text", undefined, { recalled: { by: "bob" } }), { sender: "bob", kind: "recalled", text: "" });
});

test("a hot conversation that stood on no page of the list is asked for by name, once", () => {
  const replica = ready();
  replica.pushed("message", { ...text(5), conversation: "hot" });
  const hot = [{ conversation: "c", rev: 2, seq: 2 }, { conversation: "hot", rev: 5, seq: 5 }];
  answer(replica, "sync", { epoch: "e", version: 5, more: false, inbox: [], hot });
  const params = answer(replica, "inbox.list", { inbox: [row({ conversation: "hot", head: { seq: 5, rev: 5, time: 1e12 } })], version: 5, epoch: "e" });
  assert.deepEqual(params, { conversations: ["hot"] });
  assert.equal(replica.conversations.get("hot").head.seq, 5);
  assert.deepEqual(commands(replica), []);
});

test("a row that was refused is named by the next sync, and asked for again", () => {
  const replica = ready();
  replica.pushed("message", { ...text(5), conversation: "hot" });
  const named = { epoch: "e", version: 5, more: false, inbox: [], hot: [{ conversation: "hot", rev: 5, seq: 5 }] };
  answer(replica, "sync", named);
  const [job] = replica.jobs();
  job.failed({ code: "invalid" });
  assert.deepEqual(commands(replica), []);
  replica.pushed("message", { ...text(6), conversation: "hot" });
  answer(replica, "sync", named);
  assert.deepEqual(commands(replica), [["inbox.list", { conversations: ["hot"] }]]);
});

const info = (rev, first_seq) => ({ conversation: "c", rev, kind: "group", name: "C", members: 2, first_seq });

test("what was deleted is neither held, nor quoted, nor unread, and nobody asks for it", () => {
  const gaps = [];
  const replica = ready([row({ mentioned: 1 })], (gap) => gaps.push(gap));
  const one = replica.conversations.get("c");
  replica.pushed("message", text(3, 3, { reply_to: { seq: 1, sender: "bob", kind: "text", text: "m1" } }));
  assert.equal(one.unread, 3);
  replica.pushed("conversation", info(4, 2));
  assert.deepEqual(shown(replica), ["2:m2", "3:m3"]);
  assert.deepEqual([one.unread, one.mentioned, one.first_seq, one.timeline.atStart], [2, undefined, 2, true]);
  assert.equal(one.timeline.get(3).reply_to, undefined);
  replica.rows("c", { messages: [text(1, 9)] }); // late, from before it was deleted
  replica.want("c", "older");
  assert.deepEqual([shown(replica), commands(replica)], [["2:m2", "3:m3"], []]);
  replica.pushed("conversation", info(5, 4));
  assert.deepEqual([shown(replica), one.unread, one.head.preview, one.head.seq], [[], 0, undefined, 3]);
  assert.deepEqual([commands(replica), gaps], [[], []]);
  replica.pushed("message", text(4, 6));
  assert.deepEqual([shown(replica), one.unread], [["4:m4"], 1]);
  assert.deepEqual([commands(replica), gaps], [[], []]);
});

test("a row alone tells what was deleted; an older one does not bring it back", () => {
  const replica = ready();
  replica.pushed("inbox", row({ version: 6, first_seq: 2, unread: 1 }));
  assert.deepEqual(shown(replica), ["2:m2"]);
  replica.pushed("conversation", info(3, 3));
  replica.pushed("inbox", row({ version: 7, first_seq: 2, unread: 1 }));
  const one = replica.conversations.get("c");
  assert.deepEqual([shown(replica), one.first_seq, one.unread], [[], 3, 0]);
});

test("whoever looks at what is deleted just then is brought to the newest page", () => {
  const replica = ready([row({ head: { seq: 900, rev: 900, time: 1e12 }, unread: 0 })]);
  replica.want("c", "around", 300);
  const [job] = replica.jobs();
  assert.deepEqual(job.params, { conversation: "c", limit: 50, before: 325 });
  job.done({ messages: [], first_seq: 800, head: { seq: 900, rev: 900 } });
  const page = Array.from({ length: 50 }, (_, n) => text(851 + n));
  assert.deepEqual(answer(replica, "history", { messages: page, first_seq: 800, head: { seq: 900, rev: 900 } }), { conversation: "c", limit: 50 });
  const { timeline } = replica.conversations.get("c");
  assert.deepEqual([timeline.atStart, timeline.atEnd, timeline.messages.length], [false, true, 50]);
  replica.want("c", "around", 300);
  assert.equal(replica.jobs()[0].params.before, 825);
});
