"""Fan-out: from the topic ``stored`` to inboxes and deliveries. It relies on neither order nor memory of the broker.

Per conversation a forward-only cursor: at or below → drop; a jump → the gap is read from the log. Normal rooms: the
inbox half of each member's row and the next `version`; hot rooms: the conversation's own row is the inbox of all.
What need not stand before the hand-on is done after it.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import structlog
from attrs import define
from chat_common.clock import Clock
from chat_common.errors import EpochChanged
from chat_common.ports.broker import BrokerRecord
from chat_common.ports.database import Database
from chat_common.records import Push
from sqlalchemy import Connection

from chat_server.im.diffusion import Diffusion, appear, diffuse, hiding_before, mark, mention, save_fanned, turn
from chat_server.im.heat import FanoutSettings, is_hot
from chat_server.im.log import page_between
from chat_server.im.roster import Roster, Rosters, load
from chat_server.services import Deliver, Delivery, LogPage, Membership
from chat_server.store import epoch, views
from chat_server.store.executor import CommandExecutor
from chat_server.store.topics import Stored

log = structlog.get_logger("chat.fanout")
_stored = msgspec.json.Decoder(Stored)
Group = tuple[list[Push], Mapping[str, int]]


@define
class _Batch:
    """What is new of one conversation. ``later``: see `LogPage`; empty for pushes that came inline."""

    roster: Roster
    pushes: list[Push]
    later: Mapping[str, Membership] | None

    @property
    def last(self) -> int:
        return self.pushes[-1].rev


class Fanout:
    """The consumer of ``stored``."""

    def __init__(
        self,
        database: Database,
        executor: CommandExecutor,
        clock: Clock,
        settings: FanoutSettings,
        deliver: Deliver,
        observe: Callable[[str, Any], None],
    ) -> None:
        self._database = database
        self._executor = executor
        self._clock = clock
        self._settings = settings
        self._deliver = deliver
        self._observe = observe
        self._cursors: dict[str, int] = {}  # Those that have moved since they were saved.
        self._said: dict[str, int] = {}  # Hot conversations: when something was said, since it was last looked at.
        self._epoch: str | None = None  # All that is remembered here is of this epoch.
        self.rosters = Rosters()

    async def stored(self, records: Sequence[BrokerRecord]) -> None:
        """One shard's batch: several conversations, each in order; repeated or reordered records do no harm."""
        await asyncio.sleep(0)  # The commit that brings this has its receipts to give first.
        try:
            await self._handle(records, live=True)
        except EpochChanged:
            # The database was restored meanwhile. What is so now stands in the log; what came inline may be of a
            # history that is lost.
            self.forget_all()
            await self._handle(records, live=False)

    async def _handle(self, records: Sequence[BrokerRecord], *, live: bool) -> None:
        work: dict[str, list[Push] | None] = {}
        last: dict[str, int] = {}
        first: dict[str, int] = {}
        for record in records:
            item = _stored.decode(record.payload)
            name = item.conversation
            last[name] = max(item.last, last.get(name, 0))
            first[name] = min(item.first, first.get(name, item.first))
            if record.inline is None or not live:
                work[name] = None
            else:
                have = work.setdefault(name, [])
                if have is not None:
                    have.extend(record.inline)
        batches = []
        for name, inline in work.items():
            batch = await self._batch(name, first[name], last[name], inline)
            if batch is not None:
                batches.append(batch)
        if len(batches) < len(work) and await self._database.read(epoch.read) != self._epoch:
            raise epoch.changed()  # Taken for repetitions by the numbers of another epoch.
        if batches:
            await self._hand_on(batches)

    def forget_all(self) -> None:
        """The store began a new epoch: how far anything was fanned out, and to whom, is read anew."""
        self._epoch = None
        self.rosters = Rosters()
        self._cursors.clear()
        self._said.clear()

    async def save(self) -> None:
        """Write the cursors that have moved, and what was left for after the hand-on; called every second or so, and at
        the end. What fails is tried again; after a crash the cursors are old, and the batches come again."""
        said, self._said = self._said, {}
        cursors, self._cursors = self._cursors, {}
        under = self._epoch
        try:
            await self._show_again(said)
            if cursors and under is not None:
                await self._database.change(lambda connection: save_fanned(connection, under, list(cursors.items())))
        except EpochChanged:
            if self._epoch == under:
                self.forget_all()
        except BaseException:
            if self._epoch == under:
                self._said = {**said, **self._said}
                self._cursors = {**cursors, **self._cursors}
            raise

    # --- what is new ----------------------------------------------------------------------------------------------

    async def _batch(self, name: str, first: int, last: int, inline: list[Push] | None) -> _Batch | None:
        roster = await self._roster(name)
        if roster is not None and roster.fanned < first - 1:
            # Another node may have had this conversation in the meantime: go on from where it came to.
            roster = await self._roster(name, fresh=True)
        if roster is None or last <= roster.fanned:
            return None
        pushes = _inline(roster.fanned, inline)
        if pushes:
            return _Batch(roster, pushes, {})
        # The log holds newest states: who left and came back in between is but a member there. The spans of now tell
        # for each message whose it is. They are read after the records were announced, so nothing of this batch was
        # said to anybody who came after them.
        roster = await self._roster(name, fresh=True) or roster
        page = await self._from_log(roster, last)
        return _Batch(roster, list(page.pushes), page.later) if page.pushes else None

    async def _roster(self, name: str, *, fresh: bool = False) -> Roster | None:
        known = self.rosters.get(name)
        if known is not None and not fresh:
            return known
        limit = self._settings.hot_members
        roster = await self._database.read(lambda connection: load(connection, name, limit))
        if roster is not None:
            if roster.epoch != self._epoch:
                self.forget_all()
                self._epoch = roster.epoch
            if known is not None and known.epoch == roster.epoch:
                roster.fanned, roster.seq = max(roster.fanned, known.fanned), max(roster.seq, known.seq)
                roster.load = known.load
            self.rosters.put(roster)
        return roster

    async def _from_log(self, roster: Roster, last: int) -> LogPage:
        """What is new after the roster's cursor."""
        name, done = roster.conversation, roster.fanned
        found: list[Push] = []
        later: Mapping[str, Membership] | None = {}
        while done < last:
            page = await self._database.read(
                lambda connection: page_between(connection, self._executor.preview, name, done, last)  # noqa: B023
            )
            found.extend(page.pushes)
            later = page.later
            if page.reach <= done:
                break
            done = page.reach
        return LogPage(found, done, later)

    # --- handing on -----------------------------------------------------------------------------------------------

    async def _hand_on(self, batches: Sequence[_Batch]) -> None:
        now = self._clock.wall_ms()
        deliveries: list[Delivery] = []
        normal: list[tuple[_Batch, list[Group], Diffusion]] = []
        mentions: list[Diffusion] = []
        for batch in batches:
            roster, pushes = batch.roster, batch.pushes
            roster.load.add(len(pushes), self._clock.monotonic())
            if roster.hot and not self._wants_hot(roster, pushes):
                await self._cool(batch)
            if roster.hot:
                if not roster.marked:
                    await self._mark(roster, now)
                first = pushes[0].since + 1
                name, under = roster.conversation, roster.epoch
                deliveries.append(
                    Delivery(pushes, None, name, first=first, last=batch.last, later=batch.later, epoch=under)
                )
                mentions.extend(self._mentions(batch, now))
            else:
                groups = _grouped(roster, pushes)
                normal.append((batch, groups, _diffusion(roster, pushes, groups, now, self._settings)))
                roster.wanted_hot = self._wants_hot(roster, pushes)
        written = await asyncio.gather(*(self._database.change_many(diffuse, item) for _, _, item in normal))
        appeared = {
            item.conversation: item.users if batch.roster.kind == "direct" and item.first_seq == 1 else shown
            for (batch, _, item), (_, shown) in zip(normal, written, strict=True)
        }
        if any(appeared.values()):
            await self._executor.apply(lambda tx: appear(tx, appeared))
        for (batch, groups, _), (versions, _) in zip(normal, written, strict=True):
            deliveries.extend(_deliveries(batch.roster, groups, versions))
            if batch.roster.wanted_hot:
                deliveries.extend(await self._turn_hot(batch, now))
        await self._deliver(deliveries)
        for item in mentions:
            await self._executor.apply(lambda tx, item=item: mention(tx, item))  # type: ignore[misc]
        for batch in batches:
            self._done(batch)

    def _done(self, batch: _Batch) -> None:
        """Its cursor moves, once all of it is handed on; unless another epoch has begun meanwhile."""
        roster, pushes = batch.roster, batch.pushes
        for push in pushes:
            self._observe("pushed", push)
        if roster.epoch != self._epoch:
            return
        said = max((push.data.time for push in pushes if push.seq > roster.seq), default=0)
        if roster.hot and said:
            self._said[roster.conversation] = max(said, self._said.get(roster.conversation, 0))
        roster.fanned = max(roster.fanned, batch.last)
        roster.rev = max(roster.rev, roster.fanned)
        roster.seq = max(roster.seq, *(push.seq for push in pushes))
        roster.forget_left()
        if any(push.event == "members" for push in pushes):
            self.rosters.put(roster)  # It weighs something else now.
        self._cursors[roster.conversation] = roster.fanned

    # --- hot and normal -------------------------------------------------------------------------------------------

    def _wants_hot(self, roster: Roster, pushes: Sequence[Push]) -> bool:
        """By the members after these pushes: those of the roster, or what a hot conversation says of itself."""
        if roster.spans is not None:
            roster.count = len(roster.everyone)
        else:
            for push in pushes:
                if push.event == "conversation":
                    roster.count = push.data.members
        return is_hot(roster.hot, roster.kind, roster.count, roster.load.rate, self._settings)

    async def _cool(self, batch: _Batch) -> None:
        """Turn normal with this batch, whose diffusion then stamps every member's row; its roster is read with it."""
        roster, now = batch.roster, self._clock.wall_ms()

        def normal(connection: Connection) -> Roster | None:
            if not turn(connection, roster.epoch, roster.conversation, hot=False, last=batch.last, now=now):
                return None
            return load(connection, roster.conversation, self._settings.hot_members)

        fresh = await self._database.change(normal)
        if fresh is not None and fresh.spans is not None:
            roster.count = fresh.count
            roster.hot = roster.marked = False
            roster.spans, roster.rev = fresh.spans, fresh.rev
            roster.index()

    async def _turn_hot(self, batch: _Batch, now: int) -> list[Delivery]:
        """Turn hot after this batch: a delivery of its own, which tells each node who of its users is in it."""
        roster, name, under = batch.roster, batch.roster.conversation, batch.roster.epoch
        last = batch.last
        if not await self._database.change(lambda tx: turn(tx, under, name, hot=True, last=last, now=now)):
            return []
        members = {user: roster.spans[user] for user in roster.everyone} if roster.spans is not None else None
        roster.hot = roster.marked = True
        roster.spans = None
        roster.index()
        if members is None:
            return []
        return [Delivery([], None, name, first=last + 1, last=last, members=members, hot_at=now, epoch=under)]

    async def _mark(self, roster: Roster, now: int) -> None:
        """It is far too large to be written to each member, and was never marked: the nodes ask who is in it."""
        name = roster.conversation
        await self._database.change(lambda connection: mark(connection, name, hot=True, now=now))
        roster.marked = True

    # --- after the hand-on ----------------------------------------------------------------------------------------

    def _mentions(self, batch: _Batch, now: int) -> list[Diffusion]:
        """In a hot conversation who is mentioned by name gets an inbox row all the same."""
        return [
            Diffusion(
                epoch=batch.roster.epoch,
                conversation=batch.roster.conversation,
                rev=push.rev,
                time=push.data.time,
                users=list(push.data.mentions),
                mentioned={},
                first_seq=push.seq,
                last_seq=push.seq,
                senders=frozenset({push.data.sender}),
                push_at=now + round(self._settings.push_delay * 1000),
            )
            for push in batch.pushes
            if push.seq > batch.roster.seq and push.data.mentions and push.data.mentions != ["@all"]
        ]

    async def _show_again(self, said: Mapping[str, int]) -> None:
        """Show a hot conversation again to users who have hidden it."""
        found = await self._database.read(lambda connection: hiding_before(connection, said)) if said else {}
        for name, users in found.items():
            await self._executor.apply(lambda tx, name=name, users=users: tx.touch(name, users, hidden=False))  # type: ignore[misc]


def _inline(done: int, pushes: list[Push] | None) -> list[Push]:
    """What is new after rev ``done`` in the inline payload; nothing if that has a gap."""
    fresh = [push for push in pushes or () if push.rev > done]
    if fresh and fresh[0].since <= done and all(b.since <= a.rev for a, b in itertools.pairwise(fresh)):
        return fresh
    return []


def _grouped(roster: Roster, pushes: Sequence[Push]) -> list[Group]:
    """Neighbouring pushes with the same receivers belong together; nearly always all of them. Members who may not see
    what changed are told of the stamp alone, by memberships of nobody, so that they miss none."""
    groups: list[Group] = []
    for push in pushes:
        if push.event == "members":
            roster.take_in(push.data.members, push.rev)
        receivers = roster.receivers(push.seq)
        if groups and groups[-1][1] is receivers:
            groups[-1][0].append(push)
        else:
            groups.append(([push], receivers))
        if receivers is not roster.everyone:
            unseen = {user: 0 for user in roster.everyone if user not in receivers}
            if unseen:
                groups.append(([views.members_push(roster.conversation, [], push.rev, push.since)], unseen))
    return groups


def _diffusion(
    roster: Roster, pushes: Sequence[Push], groups: Sequence[Group], now: int, settings: FanoutSettings
) -> Diffusion:
    users = list(groups[0][1]) if len(groups) == 1 else sorted({user for _, receivers in groups for user in receivers})
    mentioned: dict[str, int] = {}
    time = first_seq = last_seq = 0
    senders = set()
    for push in pushes:
        if push.seq <= roster.seq:
            continue
        time = max(time, push.data.time)
        first_seq = min(first_seq or push.seq, push.seq)
        last_seq = max(last_seq, push.seq)
        senders.add(push.data.sender)
        for user in push.data.mentions or ():
            mentioned[user] = max(push.seq, mentioned.get(user, 0))
    return Diffusion(
        epoch=roster.epoch,
        conversation=roster.conversation,
        rev=pushes[-1].rev,
        time=time,
        users=users,
        mentioned=mentioned,
        first_seq=first_seq,
        last_seq=last_seq,
        senders=frozenset(senders),
        push_at=now + round(settings.push_delay * 1000),
    )


def _deliveries(roster: Roster, groups: Sequence[Group], versions: Mapping[str, int]) -> list[Delivery]:
    """A user's version comes with the last pushes that are his: what came before it is then complete."""
    made: list[Delivery] = []
    rest = dict(versions)
    for pushes, receivers in reversed(groups):
        users = rest if len(groups) == 1 else {user: rest.pop(user, 0) for user in receivers}
        first, last = pushes[0].since + 1, pushes[-1].rev
        made.append(Delivery(pushes, users, roster.conversation, first=first, last=last, epoch=roster.epoch))
    return made[::-1]
