"""Hot rooms on this node: which sessions stand in them, how far they were brought."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import structlog
from chat_common.clock import Clock
from chat_common.errors import ChatError
from chat_common.events import MembersChanged
from chat_common.protocol.session import State
from chat_common.records import Push

from chat_server.gateway.cursors import Cursors
from chat_server.gateway.encoding import Encoding
from chat_server.gateway.room import UNKNOWN, Room, membership
from chat_server.gateway.session import Session
from chat_server.gateway.sessions import Sessions
from chat_server.gateway.tasks import Tasks
from chat_server.services import Delivery, ImService

log = structlog.get_logger("chat.gateway")

PAGE = 1_000
WAITING = 1_000

Seers = Mapping[int, Callable[[Session], bool]]
"""For old messages that were changed: seq → who may see it."""


class Rooms:
    """A delivery to a hot room names no recipients; here they are known.

    Sessions enter when they start (`join`), when the room becomes hot (its members among those online are asked for),
    and by the `members` pushes of the room's own stream, which also take them out. A gap in the stream is read from the
    log before what comes after it is pushed. A change of an old message reaches those alone who may see the message.
    """

    def __init__(
        self,
        im: ImService,
        sessions: Sessions,
        cursors: Cursors,
        encoding: Encoding,
        tasks: Tasks,
        clock: Clock,
        widest: int,
    ) -> None:
        """``widest``: the most revs of a gap that is read from the log."""
        self._im = im
        self._index, self._flush = sessions.index, sessions.flush
        self._cursors = cursors
        self._encoding = encoding
        self._tasks = tasks
        self._now = clock.monotonic
        self._widest = widest
        self.again: list[Callable[[Delivery], None]] = []
        """Told of what has waited and may be delivered now."""
        sessions.over.append(self.leave)
        self._rooms: dict[str, Room] = {}

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._rooms))

    def __contains__(self, conversation: str) -> bool:
        return conversation in self._rooms

    def join(self, session: Session, revs: Mapping[str, int]) -> None:
        """A session starts whose user is a member of these rooms; it syncs what was before these revs."""
        for conversation, rev in revs.items():
            room = self._rooms.get(conversation)
            if room is None:
                room = self._rooms[conversation] = Room(rev)
            self._enter(conversation, room, session)
            if rev > room.rev:  # What is under way to the others may lie before this one's membership.
                room.delay(session, rev)

    def leave(self, session: Session) -> None:
        """The session is over."""
        for conversation in session.rooms or ():
            room = self._rooms.get(conversation)
            if room is not None:
                room.leave(session)
        session.rooms = None

    def wait(self, delivery: Delivery) -> bool:
        """Whether a delivery that names its recipients must come after what is being looked up; it is taken then."""
        room = self._rooms.get(delivery.conversation or "")
        if room is None or room.waiting is None:
            return False
        if len(room.waiting) < WAITING:
            room.waiting.append(delivery)
        return True

    def cooled(self, conversation: str) -> int:
        """The room is an ordinary one again: its deliveries name their recipients. Returns how far it was brought."""
        room = self._rooms.pop(conversation, None)
        if room is None:
            return 0
        self._flush.settle()  # What is pushed from now on does not come by the room.
        for session in (*room.sessions, *room.late):
            if session.rooms is not None:
                session.rooms.discard(conversation)
        return room.rev

    def prune(self) -> None:
        """Forget the rooms in which nobody stands."""
        for conversation, room in list(self._rooms.items()):
            if not room.sessions and not room.late and room.waiting is None:
                del self._rooms[conversation]

    def deliver(self, delivery: Delivery) -> None:
        """Push now what is next; what must be looked up first, or waits for such, is pushed in its turn."""
        name = delivery.conversation
        assert name is not None
        room = self._rooms.get(name)
        if room is None:
            room = self._rooms[name] = Room(max(delivery.first - 1, self._cursors.rev(name)))
            room.waiting = [delivery]
            self._tasks.spawn(self._begin(name, room))
        elif room.waiting is not None:
            if len(room.waiting) < WAITING:  # What is left out is a gap, read from the log in its turn.
                room.waiting.append(delivery)
        elif delivery.last <= room.rev:
            return
        elif delivery.first > room.rev + 1:
            room.waiting = [delivery]
            self._tasks.spawn(self._fill(name, room, delivery.first - 1))
        elif room.unknown(delivery.pushes):
            room.waiting = []
            self._tasks.spawn(self._look_up(name, room, delivery))
        else:
            self._push(name, room, delivery.pushes, delivery.last, room.seers(delivery.pushes, {}))

    def catch_up(self, conversation: str, rev: int) -> None:
        """The log says that the room is at ``rev``: push what is missing."""
        room = self._rooms.get(conversation)
        if room is not None and room.waiting is None and room.rev < rev:
            room.waiting = []
            self._tasks.spawn(self._fill(conversation, room, rev))

    # --- what must be asked for; deliveries wait meanwhile ---

    async def _begin(self, conversation: str, room: Room) -> None:
        """Who stands in a room that has just become hot.

        The members of now are not those of the first delivery: what the log holds in between is read first, and who
        joined in it enters where he joined, who left in it stands here until then.
        """
        try:
            members = await self._among(conversation, list(self._index.by_user), 0)
            heads = await self._im.heads((), (conversation,))
            head = heads.rooms.get(conversation, room.rev)
            room.learn(heads.seqs.get(conversation, 0))
            pushes = await self._log(conversation, room.rev, head)
            for push in reversed(pushes):
                if push.event == "members":
                    here, gone = membership(push.data)
                    members.difference_update(here)
                    members.update(gone)
            for session in self._index.of(members):
                self._enter(conversation, room, session)
            self._push(conversation, room, pushes, head, await self._ask(conversation, room, pushes))
        except ChatError as error:
            log.warning("room_not_begun", conversation=conversation, code=error.code)
            self.cooled(conversation)  # The next delivery begins anew.
            return
        self._go_on(conversation, room)

    async def _fill(self, conversation: str, room: Room, upto: int) -> None:
        """Push from the log what lies between."""
        try:
            pushes = await self._log(conversation, room.rev, upto)
            self._push(conversation, room, pushes, upto, await self._ask(conversation, room, pushes))
        except ChatError as error:
            log.warning("room_gap_unread", conversation=conversation, code=error.code)
        finally:
            room.rev = max(room.rev, upto)  # What could not be read is left for the clients to sync.
            self._go_on(conversation, room)

    async def _look_up(self, conversation: str, room: Room, delivery: Delivery) -> None:
        """Push what holds changes of old messages."""
        try:
            seers = await self._ask(conversation, room, delivery.pushes)
            self._push(conversation, room, delivery.pushes, delivery.last, seers)
        except ChatError as error:
            log.warning("room_seers_unknown", conversation=conversation, code=error.code)
        finally:
            room.rev = max(room.rev, delivery.last)
            self._go_on(conversation, room)

    async def _ask(self, conversation: str, room: Room, pushes: Sequence[Push]) -> Seers:
        """Who may see the old messages among these."""
        if room.seq == UNKNOWN:
            room.learn((await self._im.heads((), (conversation,))).seqs.get(conversation, 0))
        joining: set[str] = set()
        for push in pushes:
            if push.event == "members":
                joining.update(user for user in membership(push.data)[0] if user in self._index.by_user)
        known: dict[int, set[str]] = {}
        for seq, sessions in room.unknown(pushes).items():
            users = joining.union(session.user for session in sessions if session.user is not None)
            known[seq] = await self._among(conversation, sorted(users), seq)
        return room.seers(pushes, known)

    async def _among(self, conversation: str, users: Sequence[str], seq: int) -> set[str]:
        found: set[str] = set()
        for start in range(0, len(users), PAGE):
            page = users[start : start + PAGE]
            found.update(await self._im.members_among(conversation, page, seq))
        return found

    async def _log(self, conversation: str, after: int, upto: int) -> list[Push]:
        """What the log holds; nothing of a gap too wide for a window, which is left for the clients to sync."""
        found: list[Push] = []
        if upto - after <= self._widest:
            while after < upto:
                page = await self._im.gap(conversation, after, upto)
                if not page:
                    break
                found.extend(page)
                after = page[-1].rev
        return found

    def _go_on(self, conversation: str, room: Room) -> None:
        waiting, room.waiting = room.waiting or (), None
        if self._rooms.get(conversation) is room:
            for delivery in waiting:
                for put in self.again:
                    put(delivery)

    # --- pushing, in order ---

    def _push(self, conversation: str, room: Room, pushes: Sequence[Push], last: int, seers: Seers) -> None:
        """In order of rev; sessions that are late come in at their place."""
        fresh = [push for push in pushes if push.rev > room.rev]
        while fresh and room.late and (floor := min(room.late.values())) < fresh[-1].rev:
            self._push_to_all(conversation, room, [push for push in fresh if push.rev <= floor], seers)
            fresh = [push for push in fresh if push.rev > floor]
            room.rev = max(room.rev, floor)
            room.let_in()
        self._push_to_all(conversation, room, fresh, seers)
        room.rev = max(room.rev, last)
        room.let_in()

    def _push_to_all(self, conversation: str, room: Room, fresh: Sequence[Push], seers: Seers) -> None:
        """As few chunks as may be. A change of members stands alone: who joins sees it and what follows, who leaves
        nothing after it. So does a change of an old message: who may not see it is told of its stamp alone."""
        start = 0
        for at, push in enumerate(fresh):
            if push.event == "members":
                self._send(conversation, room.sessions, fresh[start:at])
                here, gone = membership(push.data)
                for session in self._index.of(here):
                    self._enter(conversation, room, session)
                self._send(conversation, room.sessions, [push])
                for session in self._index.of(gone):
                    room.leave(session)
                    if session.rooms is not None:
                        session.rooms.discard(conversation)
                start = at + 1
            elif push.seq in seers:
                self._send(conversation, room.sessions, fresh[start:at])
                sees = {session: seers[push.seq](session) for session in room.sessions}
                self._send(conversation, [session for session, may in sees.items() if may], [push])
                self._send(conversation, [session for session, may in sees.items() if not may], [_stamp_of(push)])
                start = at + 1
            elif push.seq > room.seq:
                room.seq = push.seq
        self._send(conversation, room.sessions, fresh[start:])

    def _send(
        self, conversation: str, sessions: Sequence[Session] | Mapping[Session, int], pushes: Sequence[Push]
    ) -> None:
        if not pushes:
            return
        chunk = self._encoding.chunk(pushes, conversation)
        if chunk.count:
            self._flush.push(sessions, chunk, self._now())

    def _enter(self, conversation: str, room: Room, session: Session) -> None:
        if session.state is not State.CLOSED:
            room.enter(session)
            if session.rooms is None:
                session.rooms = set()
            session.rooms.add(conversation)


def _stamp_of(push: Push) -> Push:
    """The stamp of a push for those who may not see the rest: memberships of nobody."""
    data = MembersChanged(conversation=push.conversation or "", rev=push.rev, members=[])
    return Push("members", data, push.conversation, push.rev, push.since)
