"""Fan-out on write: what new messages and changes do to the inboxes of members. SQL only, no policy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import define
from chat_common.errors import EpochChanged
from sqlalchemy import Connection, bindparam, case, delete, false, select, true, update

from chat_server.store import epoch
from chat_server.store.push_due import Owed, owe
from chat_server.store.schema import conversation, fanned, member
from chat_server.store.statements import CompiledStatement, any_of, texts, upsert
from chat_server.store.tx import Tx, next_versions


@define
class Diffusion:
    """What one conversation's batch does to the inboxes of ``users``. Its numbers are of ``epoch``."""

    epoch: str
    conversation: str
    rev: int
    time: int
    users: Sequence[str]
    mentioned: Mapping[str, int]
    first_seq: int
    last_seq: int
    senders: frozenset[str]
    push_at: int

    @property
    def owed(self) -> Owed | None:
        """The offline pushes of it: to all but the senders, if anything was said."""
        if not self.last_seq:
            return None
        users = [user for user in self.users if user not in self.senders]
        return Owed(self.conversation, users, self.first_seq, self.last_seq, self.push_at)


Written = tuple[dict[str, int], list[str]]
"""What a diffusion came to: user → version, and the users from whom the conversation is no longer hidden."""


def diffuse(connection: Connection, items: Sequence[Diffusion]) -> Sequence[Written | EpochChanged]:
    """Write the inboxes of several conversations at once. Nothing is written for an item of another epoch."""
    now = epoch.read(connection)
    written = iter(_diffuse(connection, [item for item in items if item.epoch == now]))
    return [next(written) if item.epoch == now else epoch.changed() for item in items]


def _diffuse(connection: Connection, items: Sequence[Diffusion]) -> Sequence[Written]:
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
    owe(connection, [owed for item in items if (owed := item.owed) is not None])
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
    """Show hidden conversations that have a new message; returns, by conversation, the users who had hidden it."""
    told = {item.conversation: item for item in items if item.last_seq}
    found: dict[str, list[str]] = {}
    for name, user, activity, diffused in _HIDDEN.all(connection, texts(connection, told)) if told else ():
        item = told[name]
        if activity <= item.time and diffused < item.rev and user in item.users:
            found.setdefault(name, []).append(user)
    _SHOW.many(connection, [(name, user) for name, users in found.items() for user in users])
    return found


def appear(tx: Tx, appeared: Mapping[str, Sequence[str]]) -> None:
    """Stamp the rows of users in whose lists conversations stand from now on, by conversation."""
    for name, users in appeared.items():
        tx.touch(name, users)


def mention(tx: Tx, item: Diffusion) -> None:
    """Update the row of a user mentioned by name in a hot conversation, and owe an offline push where one is wanted."""
    epoch.require(tx.connection, item.epoch)
    tx.touch(item.conversation, item.users, mention_seq=item.last_seq, activity=tx.now, hidden=False)
    owe(tx.connection, [owed for owed in (item.owed,) if owed is not None])


def hiding_before(connection: Connection, said: Mapping[str, int]) -> dict[str, list[str]]:
    """By conversation, the users who have hidden it before the message of that time (ms), which shows it again."""
    found: dict[str, list[str]] = {}
    for row in _HIDDEN.all(connection, texts(connection, said)) if said else ():
        if row.activity < said[row.conversation]:
            found.setdefault(row.conversation, []).append(row.user)
    return found


def turn(connection: Connection, under: str, name: str, *, hot: bool, last: int, now: int) -> bool:
    """Mark a conversation as hot or normal, unless memberships have been stamped above ``last``: then the roster that
    this was decided by is older than the store's, and a later batch decides anew. Whether it was marked.
    `EpochChanged` unless the store is of the epoch ``under``, of which ``last`` is a number."""
    epoch.require(connection, under)
    newer = select(member.c.user).where(member.c.conversation == name, member.c.rev > last).limit(1)
    if connection.execute(newer).first() is not None:
        return False
    mark(connection, name, hot=hot, now=now)
    return True


def mark(connection: Connection, name: str, *, hot: bool, now: int) -> None:
    """Write whether a conversation is hot; ``now`` (ms) is when it turned so."""
    values: dict[str, Any] = {"hot": hot, "hot_at": now} if hot else {"hot": hot}
    connection.execute(update(conversation).where(conversation.c.conversation == name).values(values))


def drop_beyond_heads(connection: Connection) -> None:
    """Forget the durable cursors that lie beyond their conversation's head: they are of another epoch."""
    head = select(conversation.c.head_rev).where(conversation.c.conversation == fanned.c.conversation)
    connection.execute(delete(fanned).where(fanned.c.rev > head.scalar_subquery()))


def save_fanned(connection: Connection, under: str, items: Sequence[tuple[str, int]]) -> None:
    """Move the durable cursors on; never back. `EpochChanged` unless the store is of the epoch ``under``: a cursor
    from before a restore would claim that messages were fanned out which have yet to be written."""
    epoch.require(connection, under, hold=True)
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
