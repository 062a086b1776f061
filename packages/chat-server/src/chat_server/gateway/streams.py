"""The conversations of this node, and what is read where something is missing. See `stream` for the invariant.

Whatever is read here while others change it goes by the same rule: announce, read, merge by rev. Once a stream reads,
its deliveries wait behind it; a user who says hello is `arriving`, so that memberships that pass are noted for him.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Protocol

import structlog
from attrs import frozen
from chat_common.errors import ChatError, Unavailable
from chat_common.records import Push

from chat_server.gateway.index import SessionIndex
from chat_server.gateway.pushing import Pushing
from chat_server.gateway.stream import Stream, is_open, memberships
from chat_server.gateway.tasks import Tasks
from chat_server.services import Delivery, Gap, LogPage, MembersAsked, Membership, Present

log = structlog.get_logger("chat.gateway")

PAGE = 1_000

Noted = dict[str, Membership | None]
"""Conversation → the newest membership that passed while its user was arriving; None: some that were not looked at."""


class Log(Protocol):
    """What streams ask of im."""

    async def present(self, asked: MembersAsked) -> Present: ...

    async def gap(self, gap: Gap) -> LogPage: ...


@frozen
class StreamSettings:
    """``streams``: most that are remembered while nobody here is in them. ``gap``: the widest that is read from the
    log, in revs; wider ones are left to the clients' sync. ``waiting``: most deliveries of a stream that wait."""

    streams: int = 100_000
    gap: int = 1_024
    waiting: int = 1_000


class Streams:
    """Hands on what comes, conversation by conversation, in order of rev, each push once."""

    def __init__(self, im: Log, index: SessionIndex, pushing: Pushing, tasks: Tasks, settings: StreamSettings) -> None:
        self._im = im
        self._index = index
        self._pushing = pushing
        self._tasks = tasks
        self._settings = settings
        self._streams: dict[str, Stream] = {}  # Least recently used first.
        self._arriving: dict[str, list[Noted]] = {}

    def get(self, conversation: str) -> Stream | None:
        return self._streams.get(conversation)

    def forget_all(self) -> None:
        """The store began a new epoch, and its numbers may have fallen: up to where this node has handed on means
        nothing there. A reader that is under way finds its stream gone."""
        self._streams.clear()

    # --- deliveries ---

    def deliver(self, conversation: str, unit: Sequence[Delivery]) -> None:
        """All that one call brings of a conversation; the same revs may go to different people. Never waits."""
        stream = self._streams.pop(conversation, None)
        if stream is None:
            stream = self._make(conversation, unit[0].first - 1)
        else:
            self._streams[conversation] = stream
        if stream.reading or stream.waiting or not self._next(stream, unit):
            stream.wait(unit, self._settings.waiting)
            self._read(conversation, stream)
        else:
            self._hand_on(conversation, stream, unit)

    def _next(self, stream: Stream, unit: Sequence[Delivery]) -> bool:
        """Whether this can be handed on without reading anything."""
        if unit[-1].last <= stream.position:
            return True
        if stream.known is None:
            return not _is_hot(unit)
        if unit[0].members is not None:
            return True  # What it was before does not count any more.
        return not stream.incomplete and unit[0].first <= stream.position + 1 and unit[0].later is not None

    def _hand_on(self, conversation: str, stream: Stream, unit: Sequence[Delivery]) -> None:
        """Judged once against the position, which moves after the last of the unit."""
        begun, last = stream.position, max(delivery.last for delivery in unit)
        if last < begun or (last == begun and unit[-1].members is None):
            if unit[-1].members is not None and stream.since < last:
                stream.incomplete = stream.known is not None  # That it was normal in between has not come here.
                self._read(conversation, stream)
            return
        named: list[tuple[Sequence[Push], Mapping[str, int]]] = []
        for delivery in unit:
            if delivery.users is not None:
                if delivery.last > begun:
                    stream.cool(delivery.last)
                    fresh = delivery.first > begun
                    pushes = delivery.pushes if fresh else [push for push in delivery.pushes if push.rev > begun]
                    named.append((pushes, delivery.users))
            elif delivery.members is not None:
                if stream.known is None or stream.since < delivery.last:
                    stream.cool(delivery.last)
                    here = {user: spans for user, spans in delivery.members.items() if user in self._index.by_user}
                    stream.begin(delivery.last, here)
                    stream.hot_at = delivery.hot_at
            elif stream.known is not None:
                self._push(conversation, stream, delivery.pushes, delivery.later or {})
        if named:
            self._pushing.named(named, conversation)
        stream.position = max(begun, last)

    def _push(self, conversation: str, stream: Stream, pushes: Sequence[Push], later: Mapping[str, Membership]) -> None:
        if self._arriving:
            self._note(conversation, pushes, stream.position)
        by_user = self._index.by_user
        for users, some in stream.steps(pushes, later, by_user):
            if not some:
                self._pushing.lag(users or ())
                continue
            sessions = self._audience(stream) if users is None else tuple(self._index.of(users))
            if not self._pushing.together(sessions, some, conversation):
                stream.refused = True

    def _audience(self, stream: Stream) -> tuple:  # type: ignore[type-arg]
        """The sessions of all who are in it, gathered again when users or their sessions have changed."""
        if stream.audience is None or stream.generation != self._index.generation:
            stream.audience = tuple(self._index.of(stream.known or ()))
            stream.generation = self._index.generation
        found: tuple = stream.audience  # type: ignore[type-arg]
        return found

    def _note(self, conversation: str, pushes: Sequence[Push], position: int) -> None:
        for push in pushes:
            if push.event == "members" and push.rev > position:
                for user, spans in memberships(push.data):
                    for noted in self._arriving.get(user, ()):
                        noted[conversation] = Membership(push.rev, spans)

    # --- users who come ---

    @contextmanager
    def arriving(self, user: str) -> Iterator[Noted]:
        """While a hello of this user is under way. To be entered after his route stands in the directory, and before
        it is read what is so; the answer is merged by `arrived`, inside."""
        noted: Noted = {}
        self._arriving.setdefault(user, []).append(noted)
        try:
            yield noted
        finally:
            rest = [other for other in self._arriving[user] if other is not noted]
            if rest:
                self._arriving[user] = rest
            else:
                del self._arriving[user]

    def arrived(self, user: str, rooms: Mapping[str, Membership], noted: Noted, *, alone: bool) -> None:
        """Merge what was read of this user with what has passed since; the larger rev counts. ``alone``: he has no
        other session here that was welcomed before. The session goes live in the same turn of the loop."""
        for conversation, membership in rooms.items():
            stream = self._streams.get(conversation) or self._make(conversation, membership.rev)
            if stream.known is None:
                if stream.position > membership.rev:
                    continue  # It has turned normal since: he is named.
                stream.begin(membership.rev, None)
                self._read(conversation, stream)
            floor, passed = membership.rev, noted.get(conversation, membership)
            if passed is None:
                if membership.rev < max(stream.since, stream.position):
                    continue
                noted[conversation] = passed = membership  # Read no earlier than the answer that left him out.
            if passed.rev > membership.rev:
                membership = passed
            if not is_open(membership.spans):
                continue
            if membership.rev < stream.since:
                continue  # What is known here is newer than what was read for him.
            if alone:
                stream.welcome(user, membership, floor)
        for conversation in [name for name, passed in noted.items() if passed is None]:
            missed = self._streams.get(conversation)
            if missed is not None and missed.known is not None:
                missed.incomplete = True  # Who is in it was asked while he came, without him.
                self._read(conversation, missed)

    # --- the check ---

    def watched(self) -> list[str]:
        """The conversations whose heads the check asks for: those that somebody here is in."""
        online = self._index.by_user
        found: list[str] = []
        for conversation, stream in self._streams.items():
            stream.prune(online)
            if stream.known or stream.incomplete or stream.waiting:
                found.append(conversation)
        return found

    def catch_up(self, conversation: str, rev: int) -> None:
        """The log has this conversation at ``rev``: read what is missing, or try again."""
        stream = self._streams.get(conversation)
        if stream is not None:
            stream.target = max(stream.target, rev)
            if stream.incomplete or stream.waiting or (stream.known is not None and stream.target > stream.position):
                self._read(conversation, stream)

    def is_hot(self, conversation: str, rev: int, hot_at: int) -> None:
        """The store has it hot since ``hot_at``, at this rev: read what is missing, and ask who is in it unless that is
        known of this very period: who came while it was normal in between is not known by the one before."""
        stream = self._streams.get(conversation) or self._make(conversation, 0)
        if stream.known is None and stream.position <= rev:  # Above it, it has turned normal since.
            stream.begin(stream.position, None)
        elif stream.known is not None and stream.hot_at < hot_at and stream.position <= rev:
            stream.incomplete = True
        self.catch_up(conversation, rev)

    def tell_refused(self) -> int:
        """Whoever is in a stream of which a push was refused is behind; how many sessions were told."""
        told = 0
        for stream in self._streams.values():
            if stream.refused:
                stream.refused = False
                told += self._pushing.behind(stream.known or ())
        return told

    # --- reading ---

    def _read(self, conversation: str, stream: Stream) -> None:
        """One reader a stream."""
        if not stream.reading:
            stream.reading = True
            self._tasks.spawn(self._reader(conversation, stream))

    async def _reader(self, conversation: str, stream: Stream) -> None:
        """What cannot be read now is left as it is: the next delivery or the next check tries again."""
        try:
            while self._streams.get(conversation) is stream and await self._step(conversation, stream):
                pass
        except ChatError as error:
            log.warning("stream_unread", conversation=conversation, code=error.code)
        except Exception:
            log.exception("stream_unread", conversation=conversation)
        finally:
            stream.reading = False

    async def _step(self, conversation: str, stream: Stream) -> bool:
        """Do what comes next; False when nothing is left to do."""
        if stream.incomplete:
            await self._ask(conversation, stream)
            return True
        unit = stream.waiting[0] if stream.waiting else None
        upto = stream.target
        if unit is not None:
            assert stream.waiting is not None
            if self._next(stream, unit):
                stream.waiting.popleft()
                self._hand_on(conversation, stream, unit)
                return True
            if stream.known is None:
                stream.begin(stream.position, None)
                return True
            if unit[0].later is None:
                stream.waiting.popleft()
                stream.target = max(stream.target, unit[-1].last)
                stream.reenter()
                return True
            upto = unit[0].first - 1
        else:
            stream.waiting = None
        if stream.known is None or upto <= stream.position:
            return False
        await self._fill(conversation, stream, upto)
        return True

    async def _ask(self, conversation: str, stream: Stream) -> None:
        """Who of this node's users is in it. Deliveries wait meanwhile, so the answer is merged before they pass."""
        users = list(self._index.by_user)
        asked: dict[str, int] = {}
        found: dict[str, Membership] = {}
        rev = hot_at = 0
        for start in range(0, len(users), PAGE):
            page = users[start : start + PAGE]
            answer = await self._im.present(MembersAsked(conversation, page))
            rev = min(rev or answer.rev, answer.rev)
            hot_at = answer.hot_at
            asked.update(dict.fromkeys(page, answer.rev))
            found.update((user, Membership(answer.rev, spans)) for user, spans in answer.spans.items())
        if self._streams.get(conversation) is not stream:
            return
        announced = max(stream.target, *(unit[-1].last for unit in stream.waiting or ()), 0)
        if not users:
            rev = announced  # Whoever comes later reads what is committed by now.
        if rev < announced:
            raise Unavailable(f"the store is at {rev}, and {announced} was announced")
        online = self._index.by_user
        here = {user: membership for user, membership in found.items() if user in online}
        lagging = stream.complete(rev, asked, here, hot_at)
        for user in self._arriving.keys() - asked.keys():  # Came meanwhile: what passed him by is not known.
            for noted in self._arriving[user]:
                noted[conversation] = None
        self._pushing.lag(lagging)

    async def _fill(self, conversation: str, stream: Stream, upto: int) -> None:
        """Hand on from the log what lies between, a page at a time; too much of it is left to the clients' sync."""
        if upto - stream.position > self._settings.gap:
            stream.reenter()
            return
        page = await self._im.gap(Gap(conversation, stream.position, upto))
        if self._streams.get(conversation) is not stream:
            return
        if page.later is None:
            stream.reenter()
            return
        if page.reach <= stream.position:
            raise Unavailable(f"the log ends at {page.reach}, and {upto} was announced")
        self._push(conversation, stream, page.pushes, page.later)
        stream.position = max(stream.position, page.reach)

    def _make(self, conversation: str, position: int) -> Stream:
        """A new stream; of too many that nobody here is in, the one that was used longest ago is forgotten."""
        if len(self._streams) >= self._settings.streams:
            for other, stream in self._streams.items():
                if not (stream.known or stream.incomplete or stream.reading or stream.waiting):
                    del self._streams[other]
                    break
        made = self._streams[conversation] = Stream(position)
        return made


def _is_hot(unit: Sequence[Delivery]) -> bool:
    return any(delivery.users is None and delivery.members is None for delivery in unit)
