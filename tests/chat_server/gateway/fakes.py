"""Neighbours of the gateway that do what a test tells them, and a wire that lies in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, Self

import msgspec
from attrs import define, field
from chat_common.clock import ManualClock
from chat_common.codec.json import JsonCodec
from chat_common.errors import Invalid, NotAuthenticated, NotFound
from chat_common.ports.directory import NodeRecord, Route
from chat_common.records import Caller, Push
from chat_common.wire import User
from chat_server.gateway import ClientConnection, Gateway, GatewaySettings, Neighbours, Node
from chat_server.services import (
    Arrival,
    CloseSessions,
    CommandCall,
    CommandReply,
    Credentials,
    Delivery,
    EphemeralNote,
    Gap,
    Heads,
    HeadsAsked,
    Identity,
    LogPage,
    MembersAsked,
    Membership,
    Movements,
    Present,
    Renewed,
    SessionPush,
    Speaker,
    UserVersion,
)

codec = JsonCodec()


class ListFraming:
    def __init__(self) -> None:
        self.packed = 0

    def pack(self, frames: Sequence[bytes]) -> list[bytes]:
        self.packed += 1
        return list(frames)


FRAMING = ListFraming()


class MemoryWire:
    """Keeps what was written; a test waits for it."""

    def __init__(self, framing: ListFraming = FRAMING) -> None:
        self.framing = framing
        self.address = "127.0.0.1"
        self.user: str | None = None
        self.written: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.writes = 0
        self.closed: int | None = None
        self.aborted = False
        self.reading = True
        self.link: ClientConnection

    def write(self, packed: list[bytes]) -> None:
        self.writes += 1
        for frame in packed:
            self.written.put_nowait(msgspec.json.decode(frame))

    def close(self, code: int, reason: str) -> None:
        self.closed = code
        asyncio.get_running_loop().call_soon(self.link.lost)

    def abort(self) -> None:
        self.aborted = True
        asyncio.get_running_loop().call_soon(self.link.lost)

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    # --- the client's side ---

    def say(self, **frame: Any) -> None:
        self.link.received(msgspec.json.encode(frame))

    def hello(self, token: str | None = None, resume: tuple[str, int] | None = None, device: str = "d1") -> None:
        frame: dict[str, Any] = {"op": "hello", "device": {"id": device, "platform": "test"}}
        if token is not None:
            frame["token"] = token
        if resume is not None:
            frame["resume"] = {"session": resume[0], "received": resume[1]}
        self.say(**frame)

    def call(self, ref: str, command: str, **params: Any) -> None:
        self.say(op="call", ref=ref, command=command, params=params)

    async def get(self) -> dict[str, Any]:
        """The next frame."""
        async with asyncio.timeout(5):
            return await self.written.get()

    async def until(self, op: str) -> dict[str, Any]:
        """The next frame of this op; others before it are passed over."""
        while True:
            frame = await self.get()
            if frame["op"] == op:
                return frame

    def rest(self) -> list[dict[str, Any]]:
        """What was written and not read yet."""
        found = []
        while not self.written.empty():
            found.append(self.written.get_nowait())
        return found


@define
class FakeAuth:
    """The token ``NAME`` or ``NAME:anything`` belongs to the user NAME; those in `refused` do not."""

    clock: ManualClock
    refused: dict[str, Exception] = field(factory=dict)
    lifetime_ms: int = 30 * 86_400_000
    renewed: int = 0

    async def authenticate(self, shown: Credentials) -> Identity:
        token, device = shown.token, shown.device
        if token in self.refused:
            raise self.refused[token]
        if token == "bad":
            raise NotAuthenticated("the token is not valid")
        user = token.partition(":")[0]
        return Identity(User(user=user, name=user.title()), device, token, self.clock.wall_ms() + self.lifetime_ms)

    async def renew(self, identity: Identity) -> Renewed:
        self.renewed += 1
        token = f"{identity.user.user}:{self.renewed}"
        return Renewed(token, await self.authenticate(Credentials(token, identity.device)))


@define(slots=False)
class FakeIm:
    epoch: str = "e1"
    versions: dict[str, int] = field(factory=dict)
    hot: dict[str, tuple[int, set[str]]] = field(factory=dict)
    log: dict[str, list[Push]] = field(factory=dict)
    later: dict[str, Membership] | None = field(factory=dict)
    spans: dict[str, list[list[int]]] = field(factory=dict)
    rooms: dict[str, set[str]] = field(factory=dict)
    friends: dict[str, set[str]] = field(factory=dict)
    turned_hot: dict[str, int] = field(factory=dict)
    asked: list[tuple[Any, ...]] = field(factory=list)
    before_version: Callable[[], Awaitable[None]] | None = None
    before_acquainted: Callable[[], Awaitable[None]] | None = None

    async def version(self, user: str) -> UserVersion:
        if self.before_version is not None:
            await self.before_version()
        return UserVersion(self.epoch, self.versions.get(user, 0))

    async def arrival(self, user: str) -> Arrival:
        rooms = {
            room: Membership(rev, self.spans.get(user, [[1]]))
            for room, (rev, members) in self.hot.items()
            if user in members
        }
        answer = Arrival(self.epoch, self.versions.get(user, 0), rooms)
        if self.before_version is not None:
            await self.before_version()
        return answer

    async def heads(self, asked: HeadsAsked) -> Heads:
        users, rooms, hot_since = asked.users, asked.rooms, asked.hot_since
        self.asked.append(("heads", tuple(users), tuple(rooms)))
        versions = {user: self.versions.get(user, 0) for user in users}
        known = {room: self.hot[room][0] for room in rooms if room in self.hot}
        hot = {name: (self.hot[name][0], at) for name, at in self.turned_hot.items() if at > hot_since}
        return Heads(versions, known, self.epoch, hot, max([hot_since, *self.turned_hot.values()]))

    async def present(self, asked: MembersAsked) -> Present:
        conversation, users = asked.conversation, asked.users
        self.asked.append(("present", conversation, tuple(users)))
        rev, members = self.hot[conversation]
        return Present(rev, {user: self.spans.get(user, [[1]]) for user in users if user in members})

    async def gap(self, gap: Gap) -> LogPage:
        """Two pushes a page."""
        conversation, after, upto = gap.conversation, gap.after, gap.upto
        self.asked.append(("gap", conversation, after, upto))
        pushes = [push for push in self.log.get(conversation, ()) if after < push.rev <= upto]
        return LogPage(pushes[:2], pushes[1].rev if len(pushes) > 2 else upto, self.later)

    async def audience(self, speaker: Speaker) -> Sequence[str]:
        user, members = speaker.user, self.rooms.get(speaker.conversation, set())
        if user not in members:
            raise NotFound("no such conversation")
        return sorted(members - {user})

    async def acquainted(self, asked: Mapping[str, Sequence[str]]) -> Mapping[str, Sequence[str]]:
        answer = {user: [one for one in others if one in self.friends.get(user, ())] for user, others in asked.items()}
        if self.before_acquainted is not None:
            await self.before_acquainted()
        return answer


@define
class FakeRouter:
    """Knows one node: the gateway itself."""

    gateway: Gateway | None = None
    acknowledgements: list[tuple[str, dict[str, int]]] = field(factory=list)
    on_others: set[str] = field(factory=set)
    movements: list[Movements] = field(factory=list)

    async def acknowledged(self, seqs: Mapping[str, Mapping[str, int]]) -> None:
        self.acknowledgements.extend((user, dict(rooms)) for user, rooms in seqs.items())

    async def note(self, request: EphemeralNote) -> None:
        assert self.gateway is not None
        await self.gateway.note(request)

    async def close(self, request: CloseSessions) -> int:
        assert self.gateway is not None
        return await self.gateway.close(request)

    async def tell(self, request: SessionPush) -> bool:
        assert self.gateway is not None
        return await self.gateway.tell(request)

    async def elsewhere(self, users: Sequence[str]) -> Sequence[str]:
        return [user for user in users if user in self.on_others]

    async def moved(self, movements: Movements) -> None:
        self.movements.append(movements)


@define(slots=False)
class FakeDirectory:
    held: dict[str, Route] = field(factory=dict)
    forgotten: bool = False

    async def register(self, route: Route, *, lease: float) -> None:
        self.held[route.session] = route

    async def unregister(self, route: Route) -> bool:
        return self.held.pop(route.session, None) is not None

    async def renew(self, node: str, boot: str, sessions: Iterable[str], *, lease: float) -> Sequence[str]:
        return [session for session in sessions if session not in self.held]

    async def routes(self, users: Iterable[str]) -> Mapping[str, Sequence[Route]]:
        found: dict[str, list[Route]] = {}
        wanted = set(users)
        for route in self.held.values():
            if route.user in wanted:
                found.setdefault(route.user, []).append(route)
        return found

    async def announce(self, record: NodeRecord, *, lease: float) -> bool:
        return True

    async def depart(self, record: NodeRecord) -> bool:
        return True

    async def nodes(self) -> Mapping[str, NodeRecord]:
        return {}

    async def gone(self) -> Sequence[tuple[NodeRecord, float]]:
        return []

    async def known_since(self) -> float:
        return 1e9


@define
class FakeDispatcher:
    """Commands are coroutine functions of (caller, params)."""

    commands: dict[str, Callable[[Caller, Any], Awaitable[Any]]] = field(factory=dict)
    submit_in_order: bool = True
    interceptor: Callable[[str, Caller | None, Any], Any] | None = None
    limit: Callable[[Caller, str | None], None] | None = None

    async def call(self, call: CommandCall) -> CommandReply:
        if call.command not in self.commands:
            raise Invalid("unknown command", field="command")
        params = msgspec.json.decode(call.params) if call.params else {}
        return CommandReply.of(await self.commands[call.command](call.caller, params))

    def charge(self, caller: Caller, command: str | None = None) -> None:
        if self.limit is not None:
            self.limit(caller, command)

    def intercept(self, point: Literal["frame_in", "push"], caller: Caller | None, value: Any) -> Any:
        return self.interceptor(point, caller, value) if self.interceptor is not None else value


class House:
    """A gateway among fakes; its clock stands still until told."""

    def __init__(self, *, report_acks: bool = False, drop: Any = None, **settings: Any) -> None:
        self.clock = ManualClock()
        self.auth = FakeAuth(self.clock)
        self.im = FakeIm()
        self.router = FakeRouter()
        self.directory = FakeDirectory()
        self.dispatcher = FakeDispatcher()
        self.gateway = Gateway(
            Node(GatewaySettings(**settings), self.clock, codec, "n1", "b1"),
            Neighbours(
                self.auth, self.im, self.router, self.directory, self.dispatcher, self.router, self.dispatcher, 3600.0
            ),
            report_acks=report_acks,
            drop=drop,
        )
        self.router.gateway = self.gateway

    async def __aenter__(self) -> Self:
        await self.gateway.__aenter__()
        return self

    async def __aexit__(self, *raised: Any) -> None:
        await self.gateway.__aexit__(None, None, None)

    def wire(self, framing: ListFraming = FRAMING) -> MemoryWire:
        wire = MemoryWire(framing)
        wire.link = self.gateway.connect(wire)
        return wire

    async def enter(self, user: str | None, device: str = "d1", **hello: Any) -> tuple[MemoryWire, dict[str, Any]]:
        """A client that has said hello; its wire and its welcome."""
        wire = self.wire()
        wire.hello(user, device=device, **hello)
        return wire, await wire.until("welcome")

    def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.gateway.sessions.wheel.turn()


def message(conversation: str, seq: int, rev: int | None = None, since: int | None = None) -> Push:
    rev = rev or seq
    data = {"conversation": conversation, "seq": seq, "rev": rev}
    return Push("message", data, conversation, rev, rev - 1 if since is None else since, seq)


async def until(happened: Callable[[], Any]) -> None:
    """Let the loop run until this is so; at most five seconds."""
    async with asyncio.timeout(5):
        while not happened():  # noqa: ASYNC110 - the gateway tells nobody about its inside
            await asyncio.sleep(0)


def members(conversation: str, rev: int, **spans: list[list[int]]) -> Push:
    rows = [{"user": {"user": user, "name": user}, "spans": list(held)} for user, held in spans.items()]
    data = {"conversation": conversation, "rev": rev, "members": rows}
    return Push("members", data, conversation, rev, rev - 1)


async def deliver(house: House, seqs: range, users: dict[str, int] | None, conversation: str = "c") -> None:
    pushes = [message(conversation, seq) for seq in seqs]
    await house.gateway.deliver([Delivery(pushes, users, conversation, seqs[0], seqs[-1])])


async def seqs(wire: MemoryWire, count: int) -> list[int]:
    return [(await wire.until("push"))["data"]["seq"] for _ in range(count)]


async def revs(wire: MemoryWire, count: int) -> list[int]:
    return [(await wire.until("push"))["data"]["rev"] for _ in range(count)]


async def hand(house: House, *pushes: Push, conversation: str = "c", **more: Any) -> None:
    """A delivery of a hot conversation."""
    first, last = pushes[0].since + 1, pushes[-1].rev
    await house.gateway.deliver([Delivery(pushes, None, conversation, first, last, **more)])
