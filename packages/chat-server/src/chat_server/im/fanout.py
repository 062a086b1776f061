"""Fan-out: from the topic ``stored`` to inboxes and deliveries. Nobody trusts the broker's order or memory.

Per conversation a forward-only cursor: at or below → drop; a jump → the gap is read from the log. Normal rooms: the
inbox half of each member's row and the next `version`; hot rooms: the conversation's own row is the inbox of all.
"""

from __future__ import annotations

import asyncio
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
from attrs import define
from chat_common.clock import Clock
from chat_common.ports.broker import BrokerRecord
from chat_common.ports.database import Database
from chat_common.records import Push
from chat_common.settings import setting
from sqlalchemy import Connection, bindparam, case, exists, false, select, true, update

from chat_server.im.log import changes_between, pushes_between
from chat_server.im.roster import Roster, Rosters, load
from chat_server.services import Deliver, Delivery
from chat_server.store import views
from chat_server.store.executor import CommandExecutor
from chat_server.store.schema import conversation, fanned, member, push_due, push_subscription
from chat_server.store.statements import CompiledStatement, any_of, texts, upsert
from chat_server.store.topics import Changed, Stored
from chat_server.store.tx import Tx, next_versions

_stored = msgspec.json.Decoder(Stored)
_changed = msgspec.json.Decoder(Changed)
Group = tuple[list[Push], Mapping[str, int]]


@define(kw_only=True)
class FanoutSettings:
    hot_members: int = setting(500, help="A group with more members is hot: its list entry is read, not written.")
    hot_deliveries: float = setting(
        5000.0, help="A group with more deliveries a second (messages times members, over 10 s) is hot too."
    )
    push_delay: float = setting(10.0, help="How long an unacknowledged message waits before an offline push, in s.")


@define
class Diffusion:
    """What one conversation's batch does to the inboxes of ``users``."""

    conversation: str
    rev: int
    time: int
    users: Sequence[str]
    mentioned: Mapping[str, int]
    first_seq: int
    last_seq: int
    senders: frozenset[str]
    push_at: int


def diffuse(connection: Connection, items: Sequence[Diffusion]) -> Sequence[tuple[dict[str, int], list[str]]]:
    """Write inboxes for several conversations at once; returns each one's user → version, and those to whom it was
    hidden and is not any more."""
    steps: dict[str, int] = {}
    for item in items:
        for user in item.users:
            steps[user] = steps.get(user, 0) + 1
    newest = next_versions(connection, steps)
    left = dict(steps)
    rows: list[tuple[Any, ...]] = []
    outcomes = []
    for item in items:
        versions = {}
        for user in item.users:
            left[user] -= 1
            versions[user] = newest[user] - left[user]
            rows.append((item.conversation, user, versions[user], item.time, item.rev, item.mentioned.get(user, 0)))
        outcomes.append(versions)
    rows.sort()
    shown = _show_again(connection, items)
    _DIFFUSE.many(connection, [row[:5] for row in rows if not row[5]])
    _DIFFUSE_MENTION.many(connection, [row for row in rows if row[5]])
    _owe_pushes(connection, items)
    return [(versions, shown.get(item.conversation, [])) for versions, item in zip(outcomes, items, strict=True)]


_ROW = (
    member.c.conversation == bindparam("name_"),
    member.c.user == bindparam("who_"),
    member.c.diffused < bindparam("upto_"),
)
_INBOX = {
    "version": bindparam("number_"),
    "activity": case((member.c.activity < bindparam("at_"), bindparam("at_")), else_=member.c.activity),
    "diffused": bindparam("upto_"),
}
_KEYS = ("name_", "who_", "number_", "at_", "upto_")
_DIFFUSE = CompiledStatement(update(member).where(*_ROW).values(_INBOX), *_KEYS)
_NEWEST_MENTION = case((member.c.mention_seq < bindparam("seq_"), bindparam("seq_")), else_=member.c.mention_seq)
_DIFFUSE_MENTION = CompiledStatement(
    update(member).where(*_ROW).values({**_INBOX, "mention_seq": _NEWEST_MENTION}), *_KEYS, "seq_"
)
_HIDDEN = CompiledStatement(
    select(member.c.conversation, member.c.user, member.c.activity, member.c.diffused).where(
        member.c.hidden == true(), any_of(member.c.conversation, "rooms_")
    ),
    "rooms_",
)
_SHOW = CompiledStatement(
    update(member)
    .where(member.c.conversation == bindparam("name_"), member.c.user == bindparam("who_"))
    .values(hidden=false()),
    "name_",
    "who_",
)


def _show_again(connection: Connection, items: Sequence[Diffusion]) -> dict[str, list[str]]:
    """A new message ends that a conversation is hidden; by conversation, those to whom it was."""
    told = {item.conversation: item for item in items if item.last_seq}
    found: dict[str, list[str]] = {}
    for name, user, activity, diffused in _HIDDEN.all(connection, texts(connection, told)) if told else ():
        item = told[name]
        if activity <= item.time and diffused < item.rev and user in item.users:
            found.setdefault(name, []).append(user)
    _SHOW.many(connection, [(name, user) for name, users in found.items() for user in users])
    return found


_ANYBODY = CompiledStatement(select(exists(select(push_subscription.c.user))))


def _owe_pushes(connection: Connection, items: Sequence[Diffusion]) -> None:
    """One `push_due` row per member with a push subscription who has not muted; dropped when acknowledged or read."""
    if not _ANYBODY.all(connection)[0][0]:
        return
    wanted = {user for item in items if item.last_seq for user in item.users}
    having = set(
        connection.execute(
            select(push_subscription.c.user).where(push_subscription.c.user.in_(sorted(wanted))).distinct()
        ).scalars()
    )
    for item in items:
        users = [user for user in item.users if user in having and user not in item.senders]
        if not item.last_seq or not users:
            continue
        unmuted = connection.execute(
            select(member.c.user).where(
                member.c.conversation == item.conversation,
                member.c.user.in_(users),
                ~member.c.muted,
                member.c.to_seq.is_(None),
            )
        ).scalars()
        for user in unmuted:
            connection.execute(
                upsert(connection, push_due)
                .values(
                    user=user,
                    conversation=item.conversation,
                    first_seq=item.first_seq,
                    last_seq=item.last_seq,
                    due_at=item.push_at,
                )
                .on_conflict_do_update(index_elements=["user", "conversation"], set_={"last_seq": item.last_seq})
            )


def save_fanned(connection: Connection, items: Sequence[tuple[str, int]]) -> Sequence[None]:
    """Move the durable cursors on; never back."""
    newest: dict[str, int] = {}
    for name, rev in items:
        newest[name] = max(rev, newest.get(name, 0))
    statement = upsert(connection, fanned)
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["conversation"],
            set_={"rev": statement.excluded.rev},
            where=fanned.c.rev < statement.excluded.rev,
        ),
        [{"conversation": name, "rev": rev} for name, rev in sorted(newest.items())],
    )
    return [None] * len(items)


class Fanout:
    """The consumers of ``stored`` and ``changed``."""

    def __init__(
        self,
        database: Database,
        executor: CommandExecutor,
        clock: Clock,
        settings: FanoutSettings,
        preview: Callable[[str, Any], str],
        deliver: Deliver,
        observe: Callable[[str, Any], None],
    ) -> None:
        self._database = database
        self._executor = executor
        self._clock = clock
        self._settings = settings
        self._preview = preview
        self._deliver = deliver
        self._observe = observe
        self._dirty: dict[str, int] = {}
        self.rosters = Rosters()

    # --- conversations ------------------------------------------------------------------------------------------

    async def stored(self, records: Sequence[BrokerRecord]) -> None:
        """One shard's batch: several conversations, each in order; repeated or reordered records do no harm."""
        work: dict[str, list[Push] | None] = {}
        last: dict[str, int] = {}
        first: dict[str, int] = {}
        for record in records:
            item = _stored.decode(record.payload)
            name = item.conversation
            last[name] = max(item.last, last.get(name, 0))
            first[name] = min(item.first, first.get(name, item.first))
            if record.inline is None:
                work[name] = None
            else:
                have = work.setdefault(name, [])
                if have is not None:
                    have.extend(record.inline)
        prepared = []
        for name, inline in work.items():
            roster = await self._roster(name)
            if roster is not None and roster.fanned < first[name] - 1:
                # Another node may have had this conversation in the meantime: go on from where it came to.
                roster = await self._roster(name, fresh=True)
            if roster is None or last[name] <= roster.fanned:
                continue
            pushes = _inline(roster.fanned, inline)
            if not pushes:
                # The log holds newest states: who left and came back in between is but a member there. The spans of
                # now tell for each message whose it is.
                roster = await self._roster(name, fresh=True) or roster
                pushes = await self._from_log(roster, last[name])
            if pushes:
                prepared.append((roster, pushes))
        if prepared:
            await self._hand_on(prepared)

    async def _roster(self, name: str, *, fresh: bool = False) -> Roster | None:
        known = self.rosters.get(name)
        if known is not None and not fresh:
            return known
        limit = self._settings.hot_members
        roster = await self._database.read(lambda connection: load(connection, name, limit))
        if roster is not None:
            if known is not None:
                roster.fanned, roster.seq = max(roster.fanned, known.fanned), max(roster.seq, known.seq)
                roster.rate, roster.rated_at = known.rate, known.rated_at
            self.rosters.put(roster)
        return roster

    async def _from_log(self, roster: Roster, last: int) -> list[Push]:
        """What is new after the roster's cursor."""
        name, done = roster.conversation, roster.fanned
        found: list[Push] = []
        while done < last:
            page = await self._database.read(lambda connection: pushes_between(connection, name, done, last))  # noqa: B023
            if not page:
                break
            found.extend(page)
            done = page[-1].rev
        return found

    async def _hand_on(self, prepared: Sequence[tuple[Roster, list[Push]]]) -> None:
        now = self._clock.wall_ms()
        deliveries: list[Delivery] = []
        normal: list[tuple[Roster, list[Group], Diffusion]] = []
        for roster, pushes in prepared:
            await self._heat(roster, pushes)
            if roster.hot:
                first, last = pushes[0].since + 1, pushes[-1].rev
                deliveries.append(Delivery(pushes, None, roster.conversation, first=first, last=last))
                await self._tell_mentioned(roster, pushes)
                await self._tell_hiding(roster, pushes)
            else:
                groups = _grouped(roster, pushes)
                normal.append((roster, groups, _diffusion(roster, pushes, groups, now, self._settings)))
        written = await asyncio.gather(*(self._database.change_many(diffuse, item) for _, _, item in normal))
        for (roster, groups, item), (versions, shown) in zip(normal, written, strict=True):
            deliveries.extend(_deliveries(roster.conversation, groups, versions))
            if roster.kind == "direct" and item.first_seq == 1:
                shown = list(item.users)
            if shown:
                await self._executor.apply(lambda tx, name=item.conversation, users=shown: tx.touch(name, users))  # type: ignore[misc]
        await self._deliver(deliveries)
        for roster, pushes in prepared:
            roster.fanned = max(roster.fanned, pushes[-1].rev)
            roster.rev = max(roster.rev, roster.fanned)
            roster.seq = max(roster.seq, *(push.seq for push in pushes))
            roster.forget_left()
            self._dirty[roster.conversation] = roster.fanned
            for push in pushes:
                self._observe("pushed", push)

    async def save(self) -> None:
        """Write the cursors that have moved; called every second or so, and at the end."""
        dirty, self._dirty = self._dirty, {}
        if dirty:
            await self._database.change(lambda connection: save_fanned(connection, list(dirty.items())))

    async def _heat(self, roster: Roster, pushes: Sequence[Push]) -> None:
        """Hot by members or by deliveries a second (averaged over 10 s), with hysteresis. Direct chats never are."""
        now = self._clock.monotonic()
        faded = math.exp(-(now - roster.rated_at) / 10.0) if roster.rated_at else 0.0
        roster.rate = roster.rate * faded + len(pushes) / 10.0
        roster.rated_at = now
        if roster.kind == "direct":
            return
        for push in pushes:
            if push.event == "conversation":
                roster.count = push.data.members
        load_now = roster.rate * roster.count
        limits = self._settings
        if not roster.hot and (roster.count > limits.hot_members or load_now > limits.hot_deliveries):
            await self._switch(roster, True)
        elif roster.hot and roster.count <= 0.8 * limits.hot_members and load_now < 0.3 * limits.hot_deliveries:
            await self._switch(roster, False)
        elif roster.hot and not roster.marked:
            await self._switch(roster, True)

    async def _switch(self, roster: Roster, hot: bool) -> None:
        """Going back to normal happens at a change, whose diffusion then stamps every member's row."""
        name = roster.conversation

        def mark(connection: Connection) -> Roster | None:
            connection.execute(update(conversation).where(conversation.c.conversation == name).values(hot=hot))
            return load(connection, name, self._settings.hot_members)

        fresh = await self._database.change(mark)
        roster.hot = roster.marked = hot
        if fresh is not None:
            roster.spans, roster.rev = fresh.spans, fresh.rev
        if hot:
            roster.spans = None
        roster.index()

    async def _tell_mentioned(self, roster: Roster, pushes: Sequence[Push]) -> None:
        """In a hot room who is mentioned by name gets an inbox row all the same."""
        for push in pushes:
            if push.seq <= roster.seq or not push.data.mentions or push.data.mentions == ["@all"]:
                continue
            item = Diffusion(
                conversation=roster.conversation,
                rev=push.rev,
                time=push.data.time,
                users=list(push.data.mentions),
                mentioned={},
                first_seq=push.seq,
                last_seq=push.seq,
                senders=frozenset({push.data.sender}),
                push_at=self._clock.wall_ms() + round(self._settings.push_delay * 1000),
            )
            await self._executor.apply(lambda tx, item=item: _tell(tx, item))  # type: ignore[misc]

    async def _tell_hiding(self, roster: Roster, pushes: Sequence[Push]) -> None:
        """In a hot room who has hidden it is told that it is there again."""
        name, time = roster.conversation, max((push.data.time for push in pushes if push.seq > roster.seq), default=0)
        if not time:
            return  # Nothing was said.
        rows = await self._database.read(lambda connection: _HIDDEN.all(connection, texts(connection, [name])))
        users = [row.user for row in rows if row.activity < time]
        if users:
            await self._executor.apply(lambda tx: tx.touch(name, users, hidden=False))

    # --- what one user alone sees ---------------------------------------------------------------------------------

    async def changed(self, records: Sequence[BrokerRecord]) -> None:
        """Push a user's own changes with their versions; one that was changed again since only fills its number."""
        items = [_changed.decode(record.payload) for record in records]

        def rows(connection: Connection) -> list[list[tuple[int, Push]]]:
            return [changes_between(connection, item.user, item.first - 1, item.last, self._preview) for item in items]

        deliveries: list[Delivery] = []
        for item, found in zip(items, await self._database.read(rows), strict=True):
            pushes: dict[int, list[Push]] = {}
            for number, push in found:
                pushes.setdefault(number, []).append(push)
            deliveries.extend(
                Delivery(pushes.get(number, []), {item.user: number}) for number in range(item.first, item.last + 1)
            )
        await self._deliver(deliveries)


def _inline(done: int, pushes: list[Push] | None) -> list[Push]:
    """What is new after rev ``done`` in the inline payload; nothing if that has a gap."""
    fresh = [push for push in pushes or () if push.rev > done]
    if fresh and fresh[0].since <= done and all(b.since <= a.rev for a, b in itertools.pairwise(fresh)):
        return fresh
    return []


def _tell(tx: Tx, item: Diffusion) -> None:
    """The own row, and perhaps an offline push, of who is mentioned by name in a hot room."""
    tx.touch(item.conversation, item.users, mention_seq=item.last_seq, activity=tx.now, hidden=False)
    _owe_pushes(tx.connection, [item])


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


def _deliveries(name: str, groups: Sequence[Group], versions: Mapping[str, int]) -> list[Delivery]:
    """A user's version comes with the last pushes that are his: what came before it is then complete."""
    made: list[Delivery] = []
    rest = dict(versions)
    for pushes, receivers in reversed(groups):
        users = rest if len(groups) == 1 else {user: rest.pop(user, 0) for user in receivers}
        made.append(Delivery(pushes, users, name, first=pushes[0].since + 1, last=pushes[-1].rev))
    return made[::-1]
