"""Users, rooms and pairs, made over the server's own HTTP interface."""

from __future__ import annotations

import http.client
import json
import re
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from attrs import frozen

from bench.process import Running

T = TypeVar("T")
R = TypeVar("R")
PAGE = 200  # members that one call may name
WORKERS = 8


class Refused(Exception):
    """The server answered with an error; `code` is the wire code."""

    def __init__(self, command: str, status: int, answer: dict[str, Any]) -> None:
        super().__init__(f"{command}: {status} {answer}")
        self.code = answer.get("code")


@frozen
class User:
    user: str
    token: str


class Api:
    """Calls commands; one kept-alive connection for each thread that calls."""

    def __init__(self, server: Running) -> None:
        self.server = server
        self._local = threading.local()

    def __call__(self, command: str, params: dict[str, Any], token: str | None = None) -> dict[str, Any]:
        """The command's result. Raises `Refused`."""
        connection = getattr(self._local, "connection", None)
        if connection is None:
            connection = http.client.HTTPConnection(self.server.host, self.server.port, timeout=60)
            self._local.connection = connection
        headers = {"Content-Type": "application/json", "Idempotency-Key": str(uuid.uuid4())}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        connection.request("POST", f"/api/{command}", json.dumps(params), headers)
        response = connection.getresponse()
        body = response.read()
        answer: dict[str, Any] = json.loads(body) if body else {}
        if response.status != 200:
            raise Refused(command, response.status, answer)
        return answer

    def each(self, call: Callable[[T], R], over: Iterable[T]) -> list[R]:
        """`call` for each, several at a time, results in order."""
        with ThreadPoolExecutor(WORKERS) as pool:
            return list(pool.map(call, over))


def settled(api: Api) -> None:
    """Return when the outbox owes nothing more: what was made has then had all its effects, on every device."""
    connection = http.client.HTTPConnection(api.server.host, api.server.port, timeout=60)
    for _ in range(3000):
        connection.request("GET", "/metrics")
        rows = re.findall(r"^chat_outbox_rows\{.*\} ([0-9.e+]+)$", connection.getresponse().read().decode(), re.M)
        if not any(map(float, rows)):
            connection.close()
            return
        time.sleep(0.1)
    raise TimeoutError("The outbox still has rows after five minutes.")


def users(api: Api, count: int, prefix: str = "bench") -> list[User]:
    """`count` users of provider `dev`, logged in; what registrations give has arrived, and burdens no later window."""

    def make(i: int) -> User:
        answer = api("auth.dev", {"name": f"{prefix}-{i}"})
        return User(answer["user"]["user"], answer["token"])

    made = api.each(make, range(count))
    settled(api)
    return made


def room(api: Api, members: Sequence[User], name: str = "bench") -> str:
    """A group of these members, the first its owner; its id."""
    owner, others = members[0], [m.user for m in members[1:]]
    created = api("group.create", {"name": name, "members": others[: PAGE - 1]}, owner.token)
    conversation: str = created["conversation"]
    for at in range(PAGE - 1, len(others), PAGE):
        page = others[at : at + PAGE]
        done = api("group.invite", {"conversation": conversation, "users": page}, owner.token)
        if len(done["done"]) != len(page):
            raise Refused("group.invite", 200, done)
    return conversation


def pairs(api: Api, members: Sequence[User]) -> list[str]:
    """Direct chats of the 1st and 2nd, the 3rd and 4th …; their ids."""

    def make(i: int) -> str:
        answer = api("direct.open", {"user": members[i + 1].user}, members[i].token)
        return str(answer["conversation"])

    return api.each(make, range(0, len(members), 2))


def write_tokens(path: Path, lines: Iterable[tuple[User, str]]) -> Path:
    """The generator's file: TOKEN CONVERSATION."""
    path.write_text("".join(f"{user.token} {conversation}\n" for user, conversation in lines))
    return path


def baseline_tokens(path: Path, rooms: dict[str, int]) -> Path:
    """The same for the baseline, whose tokens name the room."""
    path.write_text("".join(f"{room}.u{i} {room}\n" for room, count in rooms.items() for i in range(count)))
    return path


@frozen
class Audit:
    """What the store says after a run, beside what the senders were told."""

    conversations: int
    receipted: int
    stored: int
    missing: int
    """receipted, and not under their number in the history"""
    unreceipted: int
    """stored, though nobody got a receipt"""
    doubled: int
    holes: int
    """numbers that no page had"""


def audit(api: Api, refs: Path, token_of: dict[str, str]) -> Audit:
    """Reads the whole history of every conversation that `refs` names and compares it with the receipts."""
    told: dict[str, dict[str, int]] = {}
    ours: dict[str, set[str]] = {}
    for line in refs.read_text().splitlines():
        conversation, ref, seq, state = line.split()
        ours.setdefault(conversation, set()).add(ref)
        if state == "receipted":
            told.setdefault(conversation, {})[ref] = int(seq)

    def read(conversation: str) -> tuple[int, int, int, int, int, int]:
        found: dict[str, list[int]] = {}
        after, head, holes = 0, 0, 0
        while True:
            params = {"conversation": conversation, "after": after, "limit": 100}
            page = api("history", params, token_of[conversation])
            head = page["head"]["seq"]
            if not page["messages"]:
                break
            for message in page["messages"]:
                holes += message["seq"] - after - 1
                after = message["seq"]
                found.setdefault(message["ref"], []).append(message["seq"])
            if after >= head:
                break
        holes += head - after
        receipts = told.get(conversation, {})
        stored = {ref: seqs for ref, seqs in found.items() if ref in ours[conversation]}
        return (
            len(receipts),
            sum(len(seqs) for seqs in stored.values()),
            sum(seq not in stored.get(ref, []) for ref, seq in receipts.items()),
            sum(ref not in receipts for ref in stored),
            sum(len(seqs) - 1 for seqs in stored.values()),
            holes,
        )

    sums = [sum(column) for column in zip(*api.each(read, list(ours)), strict=True)]
    return Audit(len(ours), *sums)
