"""A world in which streams live: a log that is the truth, fan-out, two nodes, and clients, driven by one random number.

No event loop and no clock: coroutines of the real `Streams` are resumed by hand, each read answered at a moment of the
world's choice, from what is so then, or not at all. After each step nobody has been pushed what his spans do not hold,
nothing twice and nothing out of order; and whenever the world comes to rest, each client holds exactly what it may see.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Coroutine, Generator, Mapping, Sequence
from typing import Any

from attrs import define, field
from chat_common.errors import Unavailable
from chat_common.protocol.session import State
from chat_common.protocol.versions import VersionTracker
from chat_common.records import Push
from chat_server.gateway.check import Check, Expected
from chat_server.gateway.deliveries import Deliveries
from chat_server.gateway.index import SessionIndex
from chat_server.gateway.stream import is_open, visible
from chat_server.gateway.streams import Streams, StreamSettings
from chat_server.services import Arrival, Delivery, Gap, Heads, HeadsAsked, LogPage, MembersAsked, Membership, Present

USERS = [f"u{number}" for number in range(5)]
ROOM = "c"
PAGE = 3


class Wrong(BaseException):
    """The invariant is broken. Not an `Exception`: no part may take it for a failed read."""


class Pause:
    """Where a coroutine waits for the world to go on with it."""

    def __await__(self) -> Generator[None, None, None]:
        yield


# --- the truth ------------------------------------------------------------------------------------------------------


@define
class Truth:
    """The log of one conversation: newest states, and for the judge the history of each membership."""

    rev: int = 0
    seq: int = 0
    hot: bool = False
    hot_at: int = 0
    touched_at: int = 0
    messages: dict[int, int] = field(factory=dict)  # seq → rev
    members: dict[str, Membership] = field(factory=dict)
    history: dict[str, list[Membership]] = field(factory=dict)
    versions: dict[str, int] = field(factory=lambda: dict.fromkeys(USERS, 0))

    def say(self) -> Push:
        self.rev += 1
        self.seq += 1
        return self._message(self.seq)

    def edit(self, seq: int) -> Push:
        self.rev += 1
        return self._message(seq)

    def _message(self, seq: int) -> Push:
        self.messages[seq] = self.rev
        return Push("message", None, ROOM, self.rev, self.rev - 1, seq)

    def change(self, users: Sequence[str]) -> Push:
        """These come or go, all under one stamp."""
        self.rev += 1
        for user in users:
            spans = [list(span) for span in self.spans(user)]
            if is_open(spans):
                spans[-1].append(max(self.seq, spans[-1][0] - 1))
            else:
                spans.append([self.seq + 1])
            self.members[user] = Membership(self.rev, spans)
            self.history.setdefault(user, []).append(self.members[user])
        return self._members(users)

    def _members(self, users: Sequence[str], since: int | None = None, rev: int | None = None) -> Push:
        rev = rev or self.rev
        rows = [{"user": {"user": user}, "spans": self.spans(user)} for user in users]
        return Push("members", {"members": rows}, ROOM, rev, rev - 1 if since is None else since)

    def spans(self, user: str) -> Sequence[Sequence[int]]:
        return self.members[user].spans if user in self.members else []

    def present(self) -> list[str]:
        return [user for user in USERS if is_open(self.spans(user))]

    def was_present(self, user: str, rev: int) -> bool:
        """Just before, or just after it."""
        states = self.history.get(user, [])
        before = next((state for state in reversed(states) if state.rev < rev), None)
        after = next((state for state in reversed(states) if state.rev <= rev), None)
        return any(state is not None and is_open(state.spans) for state in (before, after))

    def page(self, after: int, upto: int) -> LogPage:
        upto = min(upto, self.rev)
        rows: dict[int, tuple[str, Any]] = {rev: ("message", seq) for seq, rev in self.messages.items()}
        for user, membership in self.members.items():
            rows.setdefault(membership.rev, ("members", []))[1].append(user)
        revs = sorted(rev for rev in rows if after < rev <= upto)
        reach = revs[PAGE - 1] if len(revs) > PAGE else upto
        pushes, since = [], after
        for rev in revs[:PAGE]:
            kind, what = rows[rev]
            made = (
                Push("message", None, ROOM, rev, since, what)
                if kind == "message"
                else self._members(what, since=since, rev=rev)
            )
            pushes.append(made)
            since = rev
        later = {user: one for user, one in self.members.items() if one.rev > reach}
        return LogPage(pushes, reach, later)


# --- clients and their sessions --------------------------------------------------------------------------------------


@define
class Client:
    """One device: what it holds, and whether it owes itself a sync. ``asked``: a sync's answer that is under way."""

    user: str
    held: int = 0
    messages: dict[int, int] = field(factory=dict)
    session: Session | None = None
    owes: bool = False
    asked: tuple[int, dict[int, int], int] | None = None

    def get(self, push: Push) -> None:
        if push.rev <= self.held:
            return
        if push.since > self.held:
            self.owes = True
            return
        self.held = push.rev
        if push.event == "message":
            self.messages[push.seq] = push.rev


@define(eq=False)
class Session:
    """As the gateway sees one: pushes wait while it is not open."""

    id: str
    client: Client
    world: World
    user: str
    state: State = State.HANDSHAKE
    versions: VersionTracker = field(factory=VersionTracker)
    waiting: list[Any] = field(factory=list)
    pushed: int = 0
    floor: int = 0
    dirty: bool = True
    window: Any = None

    def __attrs_post_init__(self) -> None:
        self.window = _Window()

    @property
    def version(self) -> int:
        return self.versions.version

    @property
    def welcomed(self) -> bool:
        return self.state is State.OPEN or self.state is State.DETACHED

    def take(self, what: Any) -> None:
        """A push with its version, ``lagged`` or ``behind``."""
        if isinstance(what, tuple) and what[0] is not None:
            self.world.judge(self, what[0])
        if self.state is State.OPEN:
            self.give(what)
        elif self.state is not State.CLOSED:
            self.waiting.append(what)

    def give(self, what: Any) -> None:
        if what == "lagged":
            self.client.owes = True
            return
        push, version = what
        if version:
            self.versions.pushed(version)
        if push is not None:
            self.client.get(push)

    def open(self) -> None:
        self.state = State.OPEN
        waiting, self.waiting = self.waiting, []
        for what in waiting:
            self.give(what)

    def beat(self, *, behind: bool) -> None:
        self.client.owes = True


@define
class _Window:
    waiting: int = 0
    lagging: bool = False


# --- a node ----------------------------------------------------------------------------------------------------------


@define
class ModelPushing:
    """Stands for `Pushing`: what is pushed reaches the sessions at once; some pushes are refused."""

    world: World
    index: Any  # A `SessionIndex` that holds the model's own sessions.

    def together(self, sessions: Sequence[Any], pushes: Sequence[Push], conversation: str) -> bool:
        passed = [push for push in pushes if not self.world.chance(self.world.refusals)]
        for session in sessions:
            for push in passed:
                session.take((push, 0))
        return len(passed) == len(pushes)

    def named(
        self, deliveries: Sequence[tuple[Sequence[Push], Mapping[str, int]]], conversation: str | None = None
    ) -> None:
        refused = self.world.chance(self.world.refusals)
        for pushes, users in deliveries:
            for user, version in users.items():
                for session in self.index.by_user.get(user, ()):
                    session.floor = 0
                    for push in pushes if not refused else ():
                        session.take((push, 0))
                    if version and not refused:
                        session.take((None, version))

    def lag(self, users: Any) -> None:
        for session in self.index.of(users):
            if session.state is State.OPEN or session.state is State.DETACHED:
                session.take("lagged")

    def behind(self, users: Any) -> int:
        told = 0
        for session in self.index.of(users):
            if session.state is State.OPEN:
                session.beat(behind=True)
                told += 1
        return told


class Node:
    """The real `Streams`, `Deliveries` and `Check` among stand-ins for what they need."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.restart()

    def restart(self) -> None:
        world = self.world
        self.epoch: str | None = None
        self.inbox: deque[list[Delivery]] = deque()
        self.tasks: list[Coroutine[Any, Any, None]] = []
        self.index = SessionIndex()
        self.pushing = ModelPushing(world, self.index)
        self.expected: Expected | None = None
        self.flush = self
        settings = StreamSettings(streams=4, gap=8, waiting=3)
        self.streams = Streams(self, self.index, self.pushing, self, settings)  # type: ignore[arg-type]
        epoch = lambda: self.epoch  # noqa: E731
        self.deliveries = Deliveries(self.streams, self.pushing, None, self.index, epoch, None)  # type: ignore[arg-type]
        self.check = Check(self, self, self.streams, lambda: 0, 0.0)  # type: ignore[arg-type]

    # what the parts ask of their surroundings

    def touch(self, session: Any) -> None:
        pass

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        self.tasks.append(work)

    async def _read(self) -> None:
        await Pause()
        if self.world.chance(self.world.failures):
            raise Unavailable("away for a moment")

    async def present(self, asked: MembersAsked) -> Present:
        await self._read()
        truth = self.world.truth
        found = {user: truth.spans(user) for user in asked.users if is_open(truth.spans(user))}
        answer = Present(truth.rev, found, truth.hot_at)
        await self._read()
        return answer

    async def gap(self, gap: Gap) -> LogPage:
        await self._read()
        page = self.world.truth.page(gap.after, gap.upto)
        await self._read()
        return page

    async def heads(self, asked: HeadsAsked) -> Heads:
        await self._read()
        truth = self.world.truth
        hot = (
            {ROOM: (truth.rev, truth.hot_at)}
            if truth.hot and max(truth.hot_at, truth.touched_at) > asked.hot_since
            else {}
        )
        rooms_now = {room: truth.rev for room in asked.rooms}
        return Heads({user: truth.versions[user] for user in asked.users}, rooms_now, "e", hot, asked.hot_since)

    async def arrival(self, user: str) -> Arrival:
        await self._read()
        truth = self.world.truth
        spans = truth.spans(user)
        rooms = {ROOM: Membership(truth.rev, spans)} if truth.hot and is_open(spans) else {}
        answer = Arrival("e", truth.versions[user], rooms)
        await self._read()
        return answer

    # what happens on it

    async def hello(self, client: Client, session: Session) -> None:
        """The order of `Handshake`: route, arriving, one read, merge, live."""
        if session.state is not State.HANDSHAKE:
            return
        self.index.add(session)  # type: ignore[arg-type]
        await Pause()
        if session.state is not State.HANDSHAKE:
            return
        self.world.routes[session.id] = (session.user, self.name)
        try:
            with self.streams.arriving(session.user) as noted:
                answer = await self.arrival(session.user)
                if session.state is not State.HANDSHAKE:
                    return
                alone = not any(other.welcomed for other in self.index.of((session.user,)))
                if alone and ROOM in answer.rooms:
                    session.floor = answer.rooms[ROOM].rev
                self.streams.arrived(session.user, answer.rooms, noted, alone=alone)
            session.versions.synced(answer.version)
            client.owes = True
            session.open()
        except Unavailable:
            self.world.end(session)

    async def look(self) -> None:
        try:
            self.expected = await self.check.ask()
        except Unavailable:
            self.expected = None


# --- the world -------------------------------------------------------------------------------------------------------


class World:
    """Give it a seed, then `run` it. ``node``: another class, for planted defects."""

    def __init__(self, seed: int, node: type[Node] = Node) -> None:
        self.random = random.Random(seed)
        self.chance_of = self.random.random
        self.failures = self.losses = self.refusals = 0.0
        self.truth = Truth()
        self.routes: dict[str, tuple[str, str]] = {}
        self.nodes = [node(self, "a"), node(self, "b")]
        self.clients = [Client(user) for user in USERS for _ in range(2)]
        self.records: deque[Push] = deque()
        self.fanned = 0
        self.roster: dict[str, Membership] = {}
        self.batch: tuple[list[Push], Mapping[str, Membership], bool] | None = None
        self.sessions = 0
        self.steps = 0

    def chance(self, share: float) -> bool:
        return share > 0 and self.chance_of() < share

    # --- the judge ---

    def judge(self, session: Session, push: Push) -> None:
        """At each push: in order, once, and nothing that the user may not see."""
        truth, user = self.truth, session.user
        if push.rev <= session.pushed:
            raise Wrong(f"{user} is pushed rev {push.rev} after rev {session.pushed}")
        session.pushed = push.rev
        if push.rev <= session.floor:
            raise Wrong(f"{user} is pushed rev {push.rev}, though the hello read rev {session.floor}")
        # Away when it was changed, but a member again later: then he may see what has become of it.
        again = any(state.rev > push.rev and is_open(state.spans) for state in truth.history.get(user, ()))
        if push.event == "message":
            if not visible(truth.spans(user), push.seq):
                raise Wrong(f"{user} is pushed message {push.seq}, with the spans {truth.spans(user)}")
            if not (again or truth.was_present(user, push.rev)):
                raise Wrong(f"{user} is pushed rev {push.rev}, having left before")
        else:
            named = {row["user"]["user"] for row in push.data["members"]} if isinstance(push.data, dict) else set()
            if user not in named and not truth.was_present(user, push.rev):
                raise Wrong(f"{user} is pushed memberships of rev {push.rev}, and was away")

    # --- steps ---

    def run(self, steps: int) -> None:
        while self.steps < steps:
            calm = self.chance(0.3)
            self.failures = 0.0 if calm else 0.15
            self.losses = 0.0 if calm else 0.1
            self.refusals = 0.0 if calm else 0.02
            for _ in range(self.random.randint(5, 60)):
                self.steps += 1
                self.step()
            self.rest()

    def step(self) -> None:
        choice = self.chance_of()
        if choice < 0.16:
            self.change()
        elif choice < 0.30:
            self.fan_out()
        elif choice < 0.52:
            self.deliver(self.random.choice(self.nodes))
        elif choice < 0.80:
            self.resume_one(self.random.choice(self.nodes))
        elif choice < 0.90:
            self.connect(self.random.choice(self.clients))
        elif choice < 0.96:
            self.sync(self.random.choice(self.clients))
        elif choice < 0.995:
            self.heartbeat(self.random.choice(self.nodes))
        else:
            self.restart(self.random.choice(self.nodes))

    def change(self) -> None:
        truth, choice = self.truth, self.chance_of()
        if choice < 0.55 or not truth.seq:
            self.records.append(truth.say())
        elif choice < 0.7:
            self.records.append(truth.edit(self.random.randint(1, truth.seq)))
        else:
            users = self.random.sample(USERS, 1 if choice < 0.9 else 2)
            self.records.append(truth.change(users))

    def fan_out(self) -> None:
        """In two steps: what is written to the store, then the directory is read and the deliveries are sent."""
        if self.batch is not None:
            self._send(*self.batch)
            self.batch = None
            return
        if not self.records:
            return
        pushes = [self.records.popleft() for _ in range(min(len(self.records), self.random.randint(1, 4)))]
        later: Mapping[str, Membership] = {}
        if self.chance(0.2) or pushes[0].since > self.fanned:
            # The records came bare, or do not follow: newest states of the log, and what is stamped later.
            last, pushes, done = pushes[-1].rev, [], self.fanned
            while done < last:
                page = self.truth.page(done, last)
                pushes.extend(page.pushes)
                done, later = page.reach, page.later or {}
        if not pushes:
            return
        turn = self.chance(0.15) and all(one.rev <= pushes[-1].rev for one in self.truth.members.values())
        if turn and self.truth.hot:
            self.truth.hot = False
        hot = self.truth.hot
        if turn and not hot and not self.was_hot:
            self.truth.hot, self.truth.hot_at = True, self.truth.hot_at + 1
        if not hot:
            for user in self._receivers(pushes):
                self.truth.versions[user] += 1
        self.was_hot = self.truth.hot
        self.batch = (pushes, later, hot)

    was_hot = False

    def _receivers(self, pushes: Sequence[Push]) -> list[str]:
        """Those who are members at the end of the batch. (Of a normal conversation nobody else is told of it.)"""
        return [user for user in USERS if self._member(user, pushes[-1].rev)]

    def _state(self, user: str, rev: int) -> Membership:
        states = [state for state in self.truth.history.get(user, []) if state.rev <= rev]
        return states[-1] if states else Membership(0, [])

    def _member(self, user: str, rev: int) -> bool:
        return is_open(self._state(user, rev).spans)

    def _send(self, pushes: list[Push], later: Mapping[str, Membership], hot: bool) -> None:
        first, last = self.fanned + 1, pushes[-1].rev
        deliveries: list[Delivery] = []
        if hot:
            deliveries.append(Delivery(pushes, None, ROOM, first, last, later=later))
        else:
            deliveries.extend(self._by_name(pushes, first, last))
            if self.truth.hot:
                members = {user: self._state(user, last).spans for user in USERS if self._member(user, last)}
                at = self.truth.hot_at
                deliveries.append(Delivery([], None, ROOM, last + 1, last, members=members, hot_at=at))
        self.fanned = last
        for node in self.nodes:
            here = {user for user, name in self.routes.values() if name == node.name}
            unit = [part for part in (_part(one, here) for one in deliveries) if part is not None]
            if unit and not self.chance(self.losses):
                node.inbox.append(unit)
                if self.chance(self.losses):
                    node.inbox.append(unit)

    def _by_name(self, pushes: list[Push], first: int, last: int) -> list[Delivery]:
        """A message to those who see it, its stamp to the others: the same revs to different people."""
        made: list[Delivery] = []
        users = {user: self.truth.versions[user] for user in self._receivers(pushes)}
        for at, push in enumerate(pushes):
            final = at == len(pushes) - 1
            seeing = {
                user: version if final else 0
                for user, version in users.items()
                if push.event != "message" or visible(self.truth.spans(user), push.seq)
            }
            seeing = {user: version for user, version in seeing.items() if self._knows(user, push)}
            others = {
                user: version if final else 0
                for user, version in users.items()
                if user not in seeing and self._knows(user, push)
            }
            away = {user: version for user, version in users.items() if not self._knows(user, push) and final}
            if seeing:
                made.append(Delivery([push], seeing, ROOM, push.since + 1, push.rev))
            if others:
                stamp = Push("members", {"members": []}, ROOM, push.rev, push.since)
                made.append(Delivery([stamp], others, ROOM, push.since + 1, push.rev))
            if away:
                made.append(Delivery([], away, ROOM, push.since + 1, push.rev))
        return made

    def _knows(self, user: str, push: Push) -> bool:
        return self.truth.was_present(user, push.rev)

    def deliver(self, node: Node) -> None:
        if node.inbox:
            node.deliveries.take(node.inbox.popleft())

    def resume_one(self, node: Node) -> None:
        """Some coroutine of the node goes on to where it waits next."""
        if node.tasks:
            task = node.tasks.pop(self.random.randrange(len(node.tasks)))
            try:
                task.send(None)
            except StopIteration:
                return
            node.tasks.append(task)

    def connect(self, client: Client) -> None:
        session = client.session
        if session is None:
            self.hello(client)
        elif session.state is State.DETACHED and self.chance(0.6):
            session.open()
        elif session.state is State.OPEN and self.chance(0.5):
            session.state = State.DETACHED
            client.asked = None
        elif self.chance(0.5):
            self.end(session)

    def hello(self, client: Client) -> None:
        self.sessions += 1
        session = client.session = Session(f"s{self.sessions}", client, self, client.user)
        node = self.random.choice(self.nodes)
        node.spawn(node.hello(client, session))

    def end(self, session: Session) -> None:
        session.state = State.CLOSED
        self.routes.pop(session.id, None)
        for node in self.nodes:
            node.index.remove(session)  # type: ignore[arg-type]
        if session.client.session is session:
            session.client.session = session.client.asked = None

    def sync(self, client: Client) -> None:
        """Ask, or take what was asked for: changes go on in between."""
        session = client.session
        if session is None or session.state is not State.OPEN:
            return
        if client.asked is not None:
            (rev, messages, version), client.asked = client.asked, None
            for seq, stamp in messages.items():
                client.messages[seq] = max(stamp, client.messages.get(seq, 0))
            client.held = max(client.held, rev)
            session.versions.synced(version)
        elif client.owes:
            truth, user = self.truth, client.user
            client.owes = False
            messages = {seq: rev for seq, rev in truth.messages.items() if visible(truth.spans(user), seq)}
            rev = truth.rev
            if not is_open(truth.spans(user)):  # A cursor that tells nothing of what came after he left.
                left_at = truth.members[user].rev if user in truth.members else 0
                if client.held == left_at:
                    messages = {}  # Nothing of it changes any more.
                rev = max(client.held, left_at)
            client.asked = (rev, messages, truth.versions[user])

    def heartbeat(self, node: Node) -> None:
        """The check in its two halves."""
        if node.expected is not None:
            expected, node.expected = node.expected, None
            node.check.judge(expected)
        else:
            node.spawn(node.look())

    def close(self) -> None:
        """End what is still under way."""
        for node in self.nodes:
            for task in node.tasks:
                task.close()

    def restart(self, node: Node) -> None:
        for task in node.tasks:
            task.close()
        for session in list(node.index):
            self.end(session)  # type: ignore[arg-type]
        for client in self.clients:
            if client.session is not None and client.session.state is State.HANDSHAKE:
                self.end(client.session)
        node.restart()

    # --- rest ---

    def rest(self) -> None:
        """Nothing fails any more, and nothing new happens: soon each client holds what it may see."""
        while self.records or self.batch is not None:
            self.fan_out()  # The last deliveries may be lost as well.
        self.failures = self.losses = self.refusals = 0.0
        for _ in range(4):
            self._drain()
            for node in self.nodes:
                node.expected = None
                node.spawn(node.look())
            self._drain()
            for node in self.nodes:
                assert node.expected is not None
                self.heartbeat(node)
            self._drain()
            for client in self.clients:
                if client.owes or client.asked:
                    self.sync(client)
                    self.sync(client)
        for client in self.clients:
            self._compare(client)

    def _drain(self) -> None:
        for node in self.nodes:
            turns = 0
            while node.inbox or node.tasks:
                self.deliver(node)
                self.resume_one(node)
                turns += 1
                if turns > 20_000:
                    raise Wrong("a node does not come to rest")

    def _compare(self, client: Client) -> None:
        session, truth = client.session, self.truth
        if session is None or session.state is not State.OPEN:
            return
        if client.owes or client.asked:
            raise Wrong(f"{client.user} is told to sync again and again")
        if not is_open(truth.spans(client.user)):
            # How it was changed after he left is not for him, but what was said before is his. As long as he holds
            # less, the row of his list tells him to sync.
            left_at = truth.members[client.user].rev if client.user in truth.members else 0
            seqs = [seq for seq in truth.messages if visible(truth.spans(client.user), seq)]
            lost = [seq for seq in seqs if seq not in client.messages]
            if lost and client.held >= left_at:
                raise Wrong(f"{client.user}, who has left, lacks {lost} at rev {truth.rev}, holding {client.held}")
            return
        may = {seq: rev for seq, rev in truth.messages.items() if visible(truth.spans(client.user), seq)}
        have = {seq: client.messages.get(seq, 0) for seq in may}
        if have != may:
            lacking = {seq: (have[seq], may[seq]) for seq in may if have[seq] != may[seq]}
            raise Wrong(f"{client.user} lacks {lacking} (held, true) at rev {truth.rev}, holding {client.held}")


def _part(delivery: Delivery, here: set[str]) -> Delivery | None:
    if delivery.members is not None:
        spans = {user: spans for user, spans in delivery.members.items() if user in here}
        return Delivery([], None, ROOM, delivery.first, delivery.last, members=spans, hot_at=delivery.hot_at)
    if delivery.users is None:
        return delivery
    users = {user: version for user, version in delivery.users.items() if user in here}
    return Delivery(delivery.pushes, users, ROOM, delivery.first, delivery.last) if users else None
