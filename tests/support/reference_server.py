"""A chat server small enough to be trusted at sight: plain lists, one thread, no storage.

It speaks the protocol's frames as objects. Tests of the client use it where they need a server that misbehaves on
demand: it can lose deliveries before they are counted, and the subclasses in the tests plant worse defects.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from typing import Any

import msgspec
from attrs import define, field
from chat_common.errors import ChatError, EpochChanged, Invalid, NotAMember, NotFound
from chat_common.protocol.frames import (
    Ack,
    Beat,
    Call,
    ClientFrame,
    Error,
    Hello,
    Lagged,
    Ping,
    Pong,
    Push,
    Reply,
    ServerFrame,
    Welcome,
)
from chat_common.wire import Limits, User

LIMITS = Limits()
HEARTBEAT = 30.0


@define
class ReferenceRoom:
    name: str
    rev: int = 0
    rows: list[dict[str, Any]] = field(factory=list)
    members: dict[str, dict[str, Any]] = field(factory=dict)

    def spans(self, user: str) -> list[list[int]]:
        return self.members[user]["spans"] if user in self.members else []

    def current(self) -> list[str]:
        return [name for name, row in self.members.items() if len(row["spans"][-1]) == 1]

    def sees(self, user: str, seq: int) -> bool:
        return any(span[0] <= seq and (len(span) == 1 or seq <= span[1]) for span in self.spans(user))


@define
class ReferenceSession:
    name: str
    user: str
    version: int
    sent: int = 0
    window: list[ServerFrame] = field(factory=list)
    connection: ReferenceConnection | None = None

    def push(self, frame: ServerFrame) -> None:
        self.sent += 1
        self.window.append(frame)
        if self.connection is not None:
            self.connection.out.append(frame)

    def acknowledge(self, received: int) -> bool:
        base = self.sent - len(self.window)
        if received > self.sent:
            return False
        if received > base:
            del self.window[: received - base]
        return True


@define(eq=False)
class ReferenceConnection:
    """One connection: what the server wants to write stands in ``out``."""

    server: ReferenceServer
    out: list[ServerFrame] = field(factory=list)
    session: ReferenceSession | None = None

    def receive(self, frame: ClientFrame) -> None:
        self.server.receive(self, frame)

    def lose(self) -> None:
        if self.session is not None and self.session.connection is self:
            self.session.connection = None
        self.out.clear()


class ReferenceServer:
    """Users log in with their own name as token. Everything happens at once, in one order."""

    def __init__(self, *, seed: int = 0, drop: float = 0.0, page: int = 3) -> None:
        self.random = random.Random(seed)
        self.drop = drop
        self.page = page
        self.epoch = "e1"
        self.rooms: dict[str, ReferenceRoom] = {}
        self.versions: dict[str, int] = {}
        self.inbox: dict[str, dict[str, dict[str, Any]]] = {}
        self.sessions: dict[str, ReferenceSession] = {}
        self.replies: dict[tuple[str, str], Any] = {}
        self.calls: list[tuple[str, str]] = []
        self.time = 1_800_000_000_000
        self._count = itertools.count(1)

    # --- connections ------------------------------------------------------------------------------------------------

    def connect(self) -> ReferenceConnection:
        return ReferenceConnection(self)

    def restart(self) -> None:
        """All sessions are gone, everything stored stays."""
        for session in self.sessions.values():
            if session.connection is not None:
                session.connection.lose()
        self.sessions.clear()

    def beat(self) -> None:
        for session in self.sessions.values():
            if session.connection is not None:
                newest = self.versions[session.user]
                session.connection.out.append(Beat(session.version, self.time, behind=session.version < newest))

    def lag(self, user: str) -> None:
        for session in self.sessions.values():
            if session.user == user:
                session.push(Lagged())

    def receive(self, connection: ReferenceConnection, frame: ClientFrame) -> None:
        match frame:
            case Hello():
                connection.out.append(self.welcome(connection, frame))
                if connection.session is not None and connection.session.window:
                    connection.out.extend(connection.session.window)
            case Ack(received):
                assert connection.session is not None
                if not connection.session.acknowledge(received):
                    connection.out.append(Error.of(Invalid("ack above what was sent", field="received")))
            case Ping():
                connection.out.append(Pong(self.time))
            case Call(ref, command, params):
                assert connection.session is not None
                self.calls.append((connection.session.user, command))
                try:
                    result = self.answer(connection.session, ref, command, plain(params))
                except ChatError as error:
                    connection.out.append(Error.of(error, ref))
                else:
                    connection.out.append(Reply(ref, plain(result)))

    def welcome(self, connection: ReferenceConnection, hello: Hello) -> Welcome:
        user = hello.token or ""
        self.versions.setdefault(user, 0)
        self.inbox.setdefault(user, {})
        session = self.sessions.get(hello.resume.session) if hello.resume else None
        resumed = session is not None and session.user == user and session.acknowledge(hello.resume.received)  # type: ignore[union-attr]
        if not resumed or session is None:
            session = ReferenceSession(f"s{next(self._count)}", user, self.versions[user])
            self.sessions[session.name] = session
            # What lies before this session is the client's to sync; a hole, until it says that it has.
            session.version = -1
        session.connection, connection.session = connection, session
        return Welcome(
            session=session.name,
            resumed=resumed,
            user=User(user=user, name=user),
            device=hello.device.id,
            epoch=self.epoch,
            version=self.versions[user],
            heartbeat=HEARTBEAT,
            resume_for=60.0,
            window=256,
            limits=LIMITS,
            server_time=self.time,
            node="reference",
        )

    # --- commands ---------------------------------------------------------------------------------------------------

    def answer(self, session: ReferenceSession, ref: str, command: str, params: dict[str, Any]) -> Any:
        user = session.user
        reading: dict[str, Callable[[], Any]] = {
            "inbox.list": lambda: self.list(user, params),
            "sync": lambda: self.sync(session, params),
            "history": lambda: self.history(user, params),
            "group.members": lambda: {"members": [m for m in self.seen(user, params).members.values()]},
        }
        if command in reading:
            return reading[command]()
        changing: dict[str, Callable[[], Any]] = {
            "submit": lambda: self.submit(user, ref, params),
            "message.edit": lambda: self.edit(user, params),
            "group.create": lambda: self.create(user, params["members"]),
            "group.invite": lambda: self.join(self.mine(user, params), params["users"]),
            "group.kick": lambda: self.part(self.mine(user, params), params["users"]),
            "group.leave": lambda: self.part(self.mine(user, params), [user]) and {},
        }
        if command not in changing:
            raise Invalid(f"{command}: no such command")
        if (user, ref) not in self.replies:
            self.replies[user, ref] = changing[command]()
        return self.replies[user, ref]

    def mine(self, user: str, params: dict[str, Any]) -> ReferenceRoom:
        room = self.seen(user, params)
        if user not in room.current():
            raise NotAMember("you have left")
        return room

    def seen(self, user: str, params: dict[str, Any]) -> ReferenceRoom:
        room = self.rooms.get(params["conversation"])
        if room is None or user not in room.members:
            raise NotFound("no such conversation")
        return room

    def submit(self, user: str, ref: str, params: dict[str, Any]) -> dict[str, Any]:
        room = self.mine(user, params)
        room.rev += 1
        self.time += 1
        row = {"conversation": room.name, "seq": len(room.rows) + 1, "rev": room.rev, "sender": user, "ref": ref}
        row |= {"kind": params["kind"], "time": self.time, "body": params["body"]}
        room.rows.append(row)
        self.deliver(room, "message", row)
        return {name: row[name] for name in ("conversation", "seq", "rev", "time")}

    def edit(self, user: str, params: dict[str, Any]) -> dict[str, Any]:
        room = self.mine(user, params)
        row = room.rows[params["seq"] - 1]
        room.rev += 1
        row |= {"rev": room.rev, "body": params["body"], "edited_at": self.time}
        self.deliver(room, "message", dict(row))
        return dict(row)

    def create(self, user: str, members: list[str]) -> dict[str, Any]:
        room = ReferenceRoom(f"c{next(self._count)}")
        self.rooms[room.name] = room
        self.join(room, [user, *members])
        return self.inbox_row(user, room)

    def join(self, room: ReferenceRoom, users: list[str]) -> dict[str, Any]:
        done = [user for user in users if user not in room.current()]
        self._members(room, done, lambda spans: spans.append([len(room.rows) + 1]))
        return {"done": users, "refused": []}

    def part(self, room: ReferenceRoom, users: list[str]) -> dict[str, Any]:
        done = [user for user in users if user in room.current()]
        self._members(room, done, lambda spans: spans[-1].append(len(room.rows)))
        return {"done": users, "refused": []}

    def _members(self, room: ReferenceRoom, users: list[str], change: Callable[[list[list[int]]], None]) -> None:
        if not users:
            return
        room.rev += 1
        for user in users:
            blank = {"conversation": room.name, "user": {"user": user, "name": user}, "role": "member", "joined_at": 0}
            row = {**(room.members.get(user) or {**blank, "spans": []}), "rev": room.rev}
            row["spans"] = [list(span) for span in row["spans"]]
            change(row["spans"])
            room.members[user] = row
        rows = [room.members[user] for user in users]
        self.deliver(room, "members", {"conversation": room.name, "rev": room.rev, "members": rows}, users)

    # --- diffusion --------------------------------------------------------------------------------------------------

    def deliver(self, room: ReferenceRoom, event: str, data: dict[str, Any], told: list[str] | None = None) -> None:
        """Every current member's version goes on; its sessions get the push, or lose it."""
        for user in {*room.current(), *(told or ())}:
            row = self.stamp(user, room)
            visible = user in room.current() and (event != "message" or room.sees(user, data["seq"]))
            frames = [Push(event, plain(data))] if visible else []
            if told is not None and user in told:
                frames.append(Push("inbox", row))
            for session in [s for s in self.sessions.values() if s.user == user]:
                if self.random.random() < self.drop:
                    continue
                for frame in frames:
                    session.push(frame)
                if session.version == self.versions[user] - 1:
                    session.version += 1

    def stamp(self, user: str, room: ReferenceRoom) -> dict[str, Any]:
        self.versions[user] = self.versions.get(user, 0) + 1
        row = self.inbox.setdefault(user, {}).setdefault(room.name, {})
        row["version"] = self.versions[user]
        return self.inbox_row(user, room)

    def inbox_row(self, user: str, room: ReferenceRoom) -> dict[str, Any]:
        spans = room.spans(user)
        gone = len(spans[-1]) == 2
        end = spans[-1][1] if gone else len(room.rows)
        rev = room.members[user]["rev"] if gone else room.rev
        own = max((row["seq"] for row in room.rows[:end] if row["sender"] == user), default=0)
        read = self.inbox[user][room.name].get("read", 0)
        return {
            "conversation": room.name,
            "version": self.inbox[user][room.name]["version"],
            "kind": "group",
            "spans": [list(span) for span in spans],
            "first_seq": spans[0][0],
            "head": {"seq": end, "rev": rev, "time": self.time},
            "read": read,
            "unread": max(0, end - max(read, spans[-1][0] - 1, own)),
            "role": "member",
            "order": self.time,
            **({"left": True} if gone else {}),
        }

    # --- reading ----------------------------------------------------------------------------------------------------

    def list(self, user: str, params: dict[str, Any]) -> dict[str, Any]:
        names = sorted(self.inbox[user])
        first = int(params.get("cursor", 0))
        found = {"inbox": [self.inbox_row(user, self.rooms[name]) for name in names[first : first + self.page]]}
        if first + self.page < len(names):
            found["cursor"] = str(first + self.page)  # type: ignore[assignment]
        return {**found, "version": self.versions[user], "epoch": self.epoch}

    def history(self, user: str, params: dict[str, Any]) -> dict[str, Any]:
        room = self.seen(user, params)
        after, before, limit = params.get("after", 0), params.get("before", 2**53), params["limit"]
        rows = [row for row in room.rows if room.sees(user, row["seq"]) and after < row["seq"] < before]
        head = self.inbox_row(user, room)["head"]
        return {
            "messages": rows[:limit] if "after" in params else rows[-limit:],
            "first_seq": room.spans(user)[0][0],
            "head": head,
        }

    def sync(self, session: ReferenceSession, params: dict[str, Any]) -> dict[str, Any]:
        if params.get("epoch") != self.epoch:
            raise EpochChanged("another epoch")
        if "conversation" in params:
            return self.sync_room(session.user, params)
        user, since = session.user, params["version"]
        if since > self.versions[user]:
            raise EpochChanged("beyond the head")
        changed = sorted((row["version"], name) for name, row in self.inbox[user].items() if row["version"] > since)
        page, more = changed[: self.page], len(changed) > self.page
        reach = page[-1][0] if more else self.versions[user]
        if not more:
            session.version = max(session.version, reach)
        rows = [self.inbox_row(user, self.rooms[name]) for _, name in page]
        empty: dict[str, Any] = {"contacts": [], "items": [], "hot": []}
        return {"epoch": self.epoch, "version": reach, "more": more, "inbox": rows, **empty}

    def sync_room(self, user: str, params: dict[str, Any]) -> dict[str, Any]:
        room, since = self.seen(user, params), params["rev"]
        if since > room.rev:
            raise EpochChanged("beyond the head")
        rows = [(row["rev"], "messages", row) for row in room.rows if room.sees(user, row["seq"])]
        gone = user not in room.current()
        rows += [(row["rev"], "members", row) for name, row in room.members.items() if not gone or name == user]
        later = sorted((row for row in rows if since < row[0]), key=lambda row: row[0])
        stamps = sorted({row[0] for row in later})[: self.page]
        page = [row for row in later if stamps and row[0] <= stamps[-1]]
        reach = stamps[-1] if len(page) < len(later) else room.rev
        found: dict[str, Any] = {"messages": [], "members": []}
        for _, kind, row in page:
            found[kind].append(row)
        return {"rev": reach, "more": len(page) < len(later), **found}


def plain(value: Any) -> Any:
    """A deep copy as it would come off the wire."""
    if isinstance(value, msgspec.Raw):
        return msgspec.json.decode(value) if bytes(value) else {}
    return msgspec.json.decode(msgspec.json.encode(value))
