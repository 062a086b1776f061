import assert from "node:assert/strict";
import { test } from "node:test";
import { CallError, Links, PutError, Uploads } from "../../packages/chat-server/src/chat_server/webclient/chat-client.js";

function rig({ answers = {}, put = async () => {} } = {}) {
  const rig = { calls: [], puts: [], finished: [], timers: [] };
  const call = async (command, params) => {
    rig.calls.push([command, params]);
    const answer = answers[command];
    if (typeof answer === "function") return answer(params);
    return answer ?? (command === "upload.begin" ? { file: "f1", put: { method: "PUT", url: "objects/f1?ticket=1", headers: { "content-type": "text/plain" } } } : {});
  };
  rig.uploads = new Uploads({
    call,
    base: "http://chat.example/sub/",
    clock: { after: (ms, act) => rig.timers.push({ ms, act }), cancel: () => {} },
    changed: () => {},
    finished: (upload) => rig.finished.push(upload),
    put: async (request, blob, options) => {
      rig.puts.push([request.url, await blob.text()]);
      await put(request, blob, options, rig.puts.length);
    },
  });
  rig.settle = async () => {
    for (let n = 0; n < 20; n += 1) await new Promise((resolve) => setImmediate(resolve));
  };
  return rig;
}
const blob = (text = "hello", type = "text/plain") => new Blob([text], { type });

test("announces, puts, finishes, and hands the file on to be sent", async () => {
  const { uploads, calls, puts, finished, settle } = rig();
  uploads.add("c", blob(), { name: "a.txt", body: { text: "look" } });
  await settle();
  assert.deepEqual(calls, [
    ["upload.begin", { conversation: "c", name: "a.txt", type: "text/plain", size: 5 }],
    ["upload.finish", { file: "f1" }],
  ]);
  assert.deepEqual(puts, [["http://chat.example/sub/objects/f1?ticket=1", "hello"]]);
  assert.deepEqual(finished.map(({ kind, body }) => [kind, body]), [["file", { text: "look", file: "f1" }]]);
  assert.deepEqual(uploads.of("c"), []);
});

test("a store that is away is tried again: after a wait, or at once when the connection is back", async () => {
  const { uploads, puts, finished, settle, timers } = rig({
    put: (request, data, options, n) => {
      if (n < 3) throw new PutError(n === 1 ? 0 : 503);
    },
  });
  const upload = uploads.add("c", blob());
  await settle();
  assert.deepEqual([upload.state, puts.length, timers.length], ["waiting", 1, 1]);
  timers[0].act();
  await settle();
  assert.deepEqual([upload.state, puts.length], ["waiting", 2]);
  uploads.wake();
  await settle();
  assert.deepEqual([finished.length, puts.length], [1, 3]);
});

test("what is in the store is not put again when only the end failed", async () => {
  let ends = 0;
  const { uploads, puts, finished, settle } = rig({
    answers: {
      "upload.finish": () => {
        ends += 1;
        if (ends === 1) throw new CallError({ code: "unavailable" });
        return {};
      },
    },
  });
  uploads.add("c", blob());
  await settle();
  uploads.wake();
  await settle();
  assert.deepEqual([puts.length, ends, finished.length], [1, 2, 1]);
});

test("a name is made one that servers take", async () => {
  const { uploads, calls, settle } = rig();
  uploads.add("c", blob(), { name: "a\u202egpj\u200b.\u200f\u061c\ufeffexe\u0000 \u200d👩‍👧" });
  await settle();
  assert.equal(calls[0][1].name, "a_gpj_.___exe_ \u200d👩‍👧");
});

test("a store that is full, or cut a body that stalled, is tried again with the same link", async () => {
  const { uploads, calls, finished, settle } = rig({
    put: (request, data, options, n) => {
      if (n < 4) throw new PutError([408, 429, 503][n - 1]);
    },
  });
  uploads.add("c", blob());
  for (let n = 0; n < 4; n += 1) {
    await settle();
    uploads.wake();
  }
  await settle();
  assert.deepEqual(calls.map(([command]) => command), ["upload.begin", "upload.finish"]);
  assert.equal(finished.length, 1);
});

test("an expired link begins anew; what is refused is told", async () => {
  const { uploads, calls, settle, finished } = rig({
    put: (request, data, options, n) => {
      if (n === 1) throw new PutError(403);
    },
  });
  uploads.add("c", blob());
  await settle();
  uploads.wake();
  await settle();
  assert.equal(calls.filter(([command]) => command === "upload.begin").length, 2);
  assert.equal(finished.length, 1);

  const refused = rig({
    answers: {
      "upload.begin": () => {
        throw new CallError({ code: "too_large", message: "size: at most 5 bytes", field: "size", limit: 5 });
      },
    },
  });
  const upload = refused.uploads.add("c", blob("x", "text/html"));
  await refused.settle();
  assert.deepEqual([upload.state, upload.error.message], ["failed", "size: at most 5 bytes"]);
});

test("being too quick passes; the day's quota is told, with its end", async () => {
  let after = 2;
  const { uploads, settle, timers, finished } = rig({
    answers: {
      "upload.begin": () => {
        if (after === undefined) return { file: "f1", put: { method: "PUT", url: "a", headers: {} } };
        throw new CallError({ code: "rate_limited", message: "at most 2 uploads a day", retry_after: after });
      },
    },
  });
  const quick = uploads.add("c", blob());
  await settle();
  assert.deepEqual([quick.state, timers.length], ["waiting", 1]);
  after = 7200;
  timers[0].act();
  await settle();
  assert.deepEqual([quick.state, quick.error.code, timers.length], ["failed", "rate_limited", 1]);
  assert.ok(Math.abs(quick.error.until - Date.now() - 7_200_000) < 10_000);
  after = undefined;
  uploads.retry(quick.ref);
  await settle();
  assert.deepEqual([finished.length, uploads.of("c").length], [1, 0]);
});

test("a large file goes in parts, and goes on with the ones that are missing", async () => {
  const have = [];
  const { uploads, puts, finished, settle } = rig({
    answers: {
      "upload.begin": { file: "big", part_size: 4, parts: 3 },
      "upload.parts": ({ numbers }) => ({
        have: [...have],
        links: numbers.map((number) => ({ number, put: { method: "PUT", url: `objects/${number}`, headers: {} } })),
      }),
    },
    put: ({ url }, data, options, n) => {
      if (n === 2) throw new PutError(0);
      have.push(Number(url.at(-1)));
    },
  });
  const seen = [];
  const upload = uploads.add("c", blob("0123456789"), {});
  upload.told = (progress) => seen.push(progress);
  await settle();
  uploads.wake();
  await settle();
  assert.deepEqual(puts.map(([, text]) => text), ["0123", "4567", "4567", "89"]);
  assert.equal(finished.length, 1);
  assert.equal(seen.at(-1), 1);
});

test("one after the other in a conversation, side by side in two; a failed one holds nobody up", async () => {
  let open;
  const first = new Promise((resolve) => (open = resolve));
  const { uploads, settle, finished } = rig({
    answers: {
      "upload.begin": ({ name }) => {
        if (name === "bad") throw new CallError({ code: "invalid" });
        return { file: name, put: { method: "PUT", url: name, headers: {} } };
      },
    },
    put: ({ url }) => (url.endsWith("/1") ? first : undefined),
  });
  for (const name of ["1", "bad", "2"]) uploads.add("c", blob(), { name });
  uploads.add("d", blob(), { name: "other" });
  await settle();
  assert.deepEqual(finished.map(({ file }) => file), ["other"]);
  open();
  await settle();
  assert.deepEqual(finished.map(({ file }) => file), ["other", "1", "2"]);
});

test("cancel ends the transfer and tells the server", async () => {
  let signal;
  const { uploads, calls, settle, finished } = rig({
    put: (request, data, options) => {
      signal = options.signal;
      return new Promise((resolve, reject) => signal.addEventListener("abort", () => reject(new Error("aborted"))));
    },
  });
  const { ref } = uploads.add("c", blob());
  await settle();
  uploads.cancel(ref);
  await settle();
  assert.equal(signal.aborted, true);
  assert.deepEqual(calls.at(-1), ["upload.cancel", { file: "f1" }]);
  assert.deepEqual([finished.length, uploads.of("c").length], [0, 0]);
});

test("links are asked for together, and again when they are about to end", async () => {
  const asked = [];
  const soon = new Set();
  const links = new Links({
    base: "http://chat.example/",
    call: async (command, { files }) => {
      asked.push(files);
      return { files: files.filter((file) => file !== "gone").map((file) => ({ file, url: `objects/${file}`, expires_at: Date.now() + (soon.has(file) ? 1000 : 600_000) })) };
    },
  });
  soon.add("b");
  const [a, b, gone] = await Promise.all([links.get("a"), links.get("b"), links.get("gone")]);
  assert.deepEqual([a.url, b.url, gone], ["http://chat.example/objects/a", "http://chat.example/objects/b", undefined]);
  await Promise.all([links.get("a"), links.get("b")]);
  assert.deepEqual(asked, [["a", "b", "gone"], ["b"]]);
});

test("what the server does not take as what it calls itself goes as bytes, once", async () => {
  for (const [kind, when] of [["file", "upload.begin"], ["file", "upload.finish"], ["image", "upload.finish"]]) {
    const types = [];
    const { uploads, settle, finished } = rig({
      answers: {
        "upload.begin": ({ type }) => {
          types.push(type);
          if (when === "upload.begin" && type === "text/html") throw new CallError({ code: "invalid", message: "type: not taken", field: "type" });
          return { file: `f${types.length}`, put: { method: "PUT", url: "objects/f1", headers: {} } };
        },
        "upload.finish": () => {
          if (when === "upload.finish" && types.length === 1) throw new CallError({ code: "invalid", message: "type: it is another", field: "type" });
          return {};
        },
      },
    });
    uploads.add("c", blob("x", "text/html"), { kind, body: { text: "see", width: 5 } });
    await settle();
    assert.deepEqual(types, ["text/html", "application/octet-stream"]);
    assert.deepEqual(finished.map((one) => [one.kind, one.body]), [["file", { text: "see", file: "f2" }]]);
  }
  const types = [];
  const never = rig({
    answers: {
      "upload.begin": ({ type }) => {
        types.push(type);
        throw new CallError({ code: "invalid", message: "type: not taken", field: "type" });
      },
    },
  });
  const upload = never.uploads.add("c", blob("x", "text/html"));
  await never.settle();
  assert.deepEqual([upload.state, types.length], ["failed", 2]);
});

test("an empty file is told at once, and trying again does nothing", async () => {
  const { uploads, calls, settle } = rig();
  const upload = uploads.add("c", blob(""));
  await settle();
  assert.deepEqual([upload.state, upload.error.code, calls.length], ["failed", "empty", 0]);
  uploads.retry(upload.ref);
  await settle();
  assert.deepEqual([upload.state, calls.length], ["failed", 0]);
});

test("a link that was refused is asked for again, and its end is judged by the server's clock", async () => {
  let asked = 0;
  const hour = 3_600_000;
  const links = new Links({
    base: "http://chat.example/",
    now: () => Date.now() - hour, // this device's clock is an hour fast
    call: async (_, { files }) => {
      asked += 1;
      return { files: files.map((file) => ({ file, url: `objects/${file}?${asked}`, expires_at: Date.now() - hour + 300_000 })) };
    },
  });
  assert.match((await links.get("a")).url, /\?1$/);
  await links.get("a");
  assert.equal(asked, 1); // it holds for five minutes of the server
  assert.match((await links.renew("a")).url, /\?2$/);
});

test("what is refused as a picture can be sent as a file", async () => {
  const types = [];
  const { uploads, settle, finished } = rig({
    answers: {
      "upload.begin": ({ type }) => {
        types.push(type);
        return { file: `f${types.length}`, put: { method: "PUT", url: "objects/f1", headers: {} } };
      },
      "upload.finish": ({ file }) => {
        if (file === "f1") throw new CallError({ code: "invalid", message: "the picture cannot be read", field: "file" });
        return {};
      },
    },
  });
  const upload = uploads.add("c", new Blob(["x"], { type: "image/png" }), { kind: "image", name: "x.png", body: { text: "look" } });
  await settle();
  assert.equal(upload.state, "failed");
  uploads.asFile(upload.ref);
  await settle();
  assert.deepEqual([types, finished.map(({ kind, body }) => [kind, body])], [["image/png", "application/octet-stream"], [["file", { text: "look", file: "f2" }]]]);
});

test("a file of no conversation is brought into the store by itself", async () => {
  const { uploads, calls, puts } = rig();
  assert.equal(await uploads.send(new File(["face"], "me.jpg", { type: "image/jpeg" })), "f1");
  assert.deepEqual(calls.map(([command]) => command), ["upload.begin", "upload.finish"]);
  assert.deepEqual(JSON.parse(JSON.stringify(calls[0][1])), { name: "me.jpg", type: "image/jpeg", size: 4 });
  assert.deepEqual(puts, [["http://chat.example/sub/objects/f1?ticket=1", "face"]]);
});
