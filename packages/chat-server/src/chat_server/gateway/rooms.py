"""Hot rooms on this node: which sessions stand in them, how far they were brought."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import structlog
from chat_common.errors import ChatError
from chat_common.protocol.session import State
from chat_common.records import Push

from chat_server.gateway.session import Session
from chat_server.services import Delivery

if TYPE_CHECKING:
    from chat_server.gateway.gateway import Gateway

log = structlog.get_logger("chat.gateway")

PAGE = 1_000
WAITING = 1_000


class Room:
    """``rev``: up to here everything was pushed. ``late``: sessions that get only what comes after their own rev.
    ``waiting``: deliveries that come after what is being looked up; None when nothing is."""

    __slots__ = ("late", "rev", "sessions", "waiting")

    def __init__(self, rev: int) -> None:
        self.rev = rev
        self.sessions: set[Session] = set()
        self.late: dict[Session, int] = {}
        self.waiting: list[Delivery] | None = None

    def enter(self, session: Session) -> None:
        self.late.pop(session, None)
        self.sessions.add(session)

    def leave(self, session: Session) -> None:
        self.late.pop(session, None)
        self.sessions.discard(session)

    def let_in(self) -> None:
        """Who was late and has nothing to wait for any more."""
        for session, floor in list(self.late.items()):
            if floor <= self.rev:
                self.enter(session)


class Rooms:
    """A delivery to a hot room names no recipients; here they are known.

    Sessions enter when they start (`join`), when the room becomes hot (its members among those online are asked for),
    and by the `members` pushes of the room's own stream, which also take them out. A gap in the stream is read from the
    log before what comes after it is pushed.
    """

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
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
                room.sessions.discard(session)
                room.late[session] = rev

    def leave(self, session: Session) -> None:
        """The session is over."""
        for conversation in session.rooms or ():
            room = self._rooms.get(conversation)
            if room is not None:
                room.leave(session)
        session.rooms = None

    def cooled(self, conversation: str) -> int:
        """The room is an ordinary one again: its deliveries name their recipients. Returns how far it was brought."""
        room = self._rooms.pop(conversation, None)
        if room is None:
            return 0
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
        assert delivery.conversation is not None
        room = self._rooms.get(delivery.conversation)
        if room is None:
            room = self._rooms[delivery.conversation] = Room(
                max(delivery.first - 1, self._gateway.deliveries.rev(delivery.conversation))
            )
            room.waiting = [delivery]
            self._gateway.tasks.spawn(self._begin(delivery.conversation, room))
        elif room.waiting is not None:
            if len(room.waiting) < WAITING:  # What is left out is a gap, read from the log in its turn.
                room.waiting.append(delivery)
        elif delivery.last > room.rev:
            if delivery.first > room.rev + 1:
                room.waiting = [delivery]
                self._gateway.tasks.spawn(self._fill(delivery.conversation, room, delivery.first - 1))
            else:
                self._push(delivery.conversation, room, delivery.pushes, delivery.last)

    def catch_up(self, conversation: str, rev: int) -> None:
        """The log says that the room is at ``rev``: push what is missing."""
        room = self._rooms.get(conversation)
        if room is not None and room.waiting is None and room.rev < rev:
            room.waiting = []
            self._gateway.tasks.spawn(self._fill(conversation, room, rev))

    async def _begin(self, conversation: str, room: Room) -> None:
        """Who stands in a room that has just become hot.

        The members of now are not those of the first delivery: what the log holds in between is read first, and who
        joined in it enters where he joined, who left in it stands here until then.
        """
        gateway = self._gateway
        users = list(gateway.roster.by_user)
        try:
            members: set[str] = set()
            for start in range(0, len(users), PAGE):
                page = users[start : start + PAGE]
                members.update(await gateway.neighbours.im.members_among(conversation, page))
            head = (await gateway.neighbours.im.heads((), (conversation,))).rooms.get(conversation, room.rev)
            pushes = await self._log(conversation, room.rev, head)
        except ChatError as error:
            log.warning("room_members_unknown", conversation=conversation, code=error.code)
            self._rooms.pop(conversation, None)
            return
        for push in reversed(pushes):
            if push.event == "members":
                here, gone = _changed(push.data)
                members.difference_update(here)
                members.update(gone)
        for session in gateway.roster.of(members):
            self._enter(conversation, room, session)
        self._push(conversation, room, pushes, head)
        self._go_on(conversation, room)

    async def _fill(self, conversation: str, room: Room, upto: int) -> None:
        """Push from the log what lies between."""
        try:
            self._push(conversation, room, await self._log(conversation, room.rev, upto), upto)
        except ChatError as error:
            log.warning("room_gap_unread", conversation=conversation, code=error.code)
        finally:
            room.rev = max(room.rev, upto)
            self._go_on(conversation, room)

    async def _log(self, conversation: str, after: int, upto: int) -> list[Push]:
        """What the log holds; nothing of a gap too wide for a window, which is left for the clients to sync."""
        found: list[Push] = []
        if upto - after <= self._gateway.settings.backlog:
            while after < upto:
                page = await self._gateway.neighbours.im.gap(conversation, after, upto)
                if not page:
                    break
                found.extend(page)
                after = page[-1].rev
        return found

    def _go_on(self, conversation: str, room: Room) -> None:
        waiting, room.waiting = room.waiting or (), None
        if self._rooms.get(conversation) is room:
            for delivery in waiting:
                self.deliver(delivery)

    def _push(self, conversation: str, room: Room, pushes: Sequence[Push], last: int) -> None:
        """In order of rev; sessions that are late come in at their place."""
        fresh = [push for push in pushes if push.rev > room.rev]
        while fresh and room.late and (floor := min(room.late.values())) < fresh[-1].rev:
            self._push_to_all(conversation, room, [push for push in fresh if push.rev <= floor])
            fresh = [push for push in fresh if push.rev > floor]
            room.rev = max(room.rev, floor)
            room.let_in()
        self._push_to_all(conversation, room, fresh)
        room.rev = max(room.rev, last)
        room.let_in()

    def _push_to_all(self, conversation: str, room: Room, fresh: Sequence[Push]) -> None:
        """A change of members stands alone: who joins sees it and what follows, who leaves nothing after it."""
        start = 0
        for at, push in enumerate(fresh):
            if push.event == "members":
                self._send(conversation, room, fresh[start:at])
                here, gone = _changed(push.data)
                for session in self._gateway.roster.of(here):
                    self._enter(conversation, room, session)
                self._send(conversation, room, [push])
                for session in self._gateway.roster.of(gone):
                    room.leave(session)
                    if session.rooms is not None:
                        session.rooms.discard(conversation)
                start = at + 1
        self._send(conversation, room, fresh[start:])

    def _send(self, conversation: str, room: Room, pushes: Sequence[Push]) -> None:
        if not pushes:
            return
        gateway = self._gateway
        chunk = gateway.deliveries.chunk(pushes, conversation)
        if not chunk.count:
            return
        now, touch = gateway.now(), gateway.flush.touch
        for session in room.sessions:
            session.push(chunk, 0, now)
            if not session.dirty:
                touch(session)

    def _enter(self, conversation: str, room: Room, session: Session) -> None:
        if session.state is not State.CLOSED:
            room.enter(session)
            if session.rooms is None:
                session.rooms = set()
            session.rooms.add(conversation)


def _changed(data: Any) -> tuple[list[str], list[str]]:
    """Who is a member and who is none any more, by a `members` push (records, or their JSON form)."""
    members: Iterable[Any] = data["members"] if isinstance(data, Mapping) else data.members
    here: list[str] = []
    gone: list[str] = []
    for member in members:
        if isinstance(member, Mapping):
            user, spans = member["user"]["user"], member["spans"]
        else:
            user, spans = member.user.user, member.spans
        (gone if not spans or len(spans[-1]) > 1 else here).append(user)
    return here, gone
