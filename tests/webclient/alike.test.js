/** Whose names can be mixed up: the login name stands beside those alone. */
import assert from "node:assert/strict";
import { test } from "node:test";

const { mixedUp, mixedUpFound } = await import("../../packages/chat-server/src/chat_server/webclient/app/alike.js");

const ada = { user: "1", name: "Ada", handle: "ada" };
const emma = { user: "2", name: "Emma", handle: "emma", skeleton: "ernrna" };

test("people with names of their own need no login name", () => {
  assert.deepEqual([...mixedUp([ada, emma])], []);
  assert.deepEqual([...mixedUp([ada, ada])], [], "one user twice is one user");
});

test("names that are alike, or look alike, are told apart", () => {
  assert.deepEqual([...mixedUp([ada, emma, { user: "3", name: "ADA", handle: "ada2" }])].sort(), ["1", "3"]);
  assert.deepEqual([...mixedUp([ada, emma, { user: "3", name: "Ernma", handle: "e", skeleton: "ernrna" }])].sort(), ["2", "3"]);
});

test("a name that is another's login name is told apart from it", () => {
  assert.deepEqual([...mixedUp([ada, { user: "3", name: "Bob", handle: "bob" }, { user: "4", name: "ADA ", handle: "x" }])], []);
  assert.deepEqual([...mixedUp([{ user: "1", name: "Countess", handle: "ada" }, { user: "2", name: "Ada", handle: "ada2" }])].sort(), ["1", "2"]);
});

test("a user of an older server, without a login name, is no trouble", () => {
  assert.deepEqual([...mixedUp([{ user: "1", name: "Ada" }, { user: "2", name: "ada" }])].sort(), ["1", "2"]);
});

test("people that a search has found are compared with those one writes to, and with oneself", () => {
  const client = { me: ada, list: () => [{ peer: emma }, { id: "a group" }] };
  assert.deepEqual([...mixedUpFound(client, [{ user: "3", name: "Ernrna", handle: "e3" }])], ["3", "2"]);
  assert.deepEqual([...mixedUpFound(client, [{ user: "4", name: "ADA", handle: "a4" }])], ["4", "1"]);
  assert.deepEqual([...mixedUpFound({ list: () => assert.fail("nobody was found") }, undefined)], []);
});
