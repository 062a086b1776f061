"""One change in one transaction: locked conversations, stamps, versions, and the outbox rows that announce them.

`Tx` is what a use case gets. Everything that a member can see change goes through `Room.stamp`, everything that only
its user sees through `Tx.touch`; `Tx.finish` writes the heads and the outbox rows. Nothing is sent before the commit.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from attrs import define, field
from chat_common import wire
from chat_common.errors import NotFound
from chat_common.ports.outbox import Outbox
from chat_common.records import Push
from sqlalchemy import Connection, bindparam, select, update

from chat_server.store import views
from chat_server.store.messages import NewMessage, write_messages
from chat_server.store.schema import conversation, member, message, user, version
from chat_server.store.statements import CompiledStatement, any_of, texts
from chat_server.store.topics import announce, changed_entry, stored_entry
from chat_server.store.writer import after_commit


def new_id() -> str:
    """An opaque id of 128 random bits. It does not begin with a dash: on a command line that would be an option."""
    while (made := secrets.token_urlsafe(16)).startswith("-"):
        pass
    return made


def missing(what: str) -> NotFound:
    """The one text for what does not exist, is foreign, or one was never in."""
    return NotFound(f"This {what} does not exist.")


@define
class Room:
    """A conversation whose row this transaction has locked."""

    tx: Tx
    conversation: str
    kind: str
    name: str | None
    avatar: str | None
    announcement: str | None
    direct_key: str | None
    link: str | None
    members: int
    head_seq: int
    head_rev: int
    head_time: int
    preview: str | None
    changed_rev: int
    first_kept: int
    own_days: int | None
    kept_days: int | None
    all_seq: int
    muted_until: int | None
    invites: str
    dissolved: bool
    hot: bool
    pushes: list[Push] = field(factory=list)
    first_rev: int = 0
    dirty: bool = False

    def stamp(self) -> int:
        """The next rev, for the row that is about to change."""
        self.head_rev += 1
        if not self.first_rev:
            self.first_rev = self.head_rev
        return self.head_rev

    def announce(self) -> None:
        """The conversation's own fields have changed: stamp and push the row."""
        self.changed_rev = self.stamp()
        self.pushes.append(
            Push(
                "conversation",
                views.conversation_record(self),
                self.conversation,
                self.changed_rev,
                self.changed_rev - 1,
            )
        )

    def announce_members(self, users: Iterable[str], rev: int) -> None:
        """Push these memberships, all stamped ``rev``, as one event."""
        records = self._member_records(users)
        self.pushes.append(views.members_push(self.conversation, records, rev, rev - 1))

    def refresh_members(self) -> None:
        """Read the memberships announced so far again: their rows have changed under the same stamp."""
        for push in self.pushes:
            if push.event == "members":
                rows = [record.user.user for record in push.data.members]
                push.data.members = self._member_records(rows)

    def _member_records(self, users: Iterable[str]) -> list[wire.Member]:
        rows = self.tx.connection.execute(
            select(member).where(member.c.conversation == self.conversation, member.c.user.in_(sorted(set(users))))
        ).all()
        return views.member_records(self.tx.connection, rows, direct=self.kind == "direct")

    def say(self, actor: str, event: str, subjects: Sequence[str] = (), args: dict[str, Any] | None = None) -> None:
        """A system message; only the server says those."""
        self.head_seq += 1
        body = {"event": event, "actor": actor, "subjects": list(subjects), "args": args or {}}
        made = NewMessage(
            conversation=self.conversation,
            seq=self.head_seq,
            rev=self.stamp(),
            sender=actor,
            ref=new_id(),
            digest=b"",
            kind="system",
            body=body,
            stored_body=views.as_json(body),
            time=self.tx.now,
        )
        self.head_time = self.tx.now
        write_messages(self.tx.connection, [made])
        self.preview = views.as_json(wire.Preview(sender=actor, kind="system", text=event))
        self.pushes.append(made.push())

    def show(self, row: Any) -> wire.Message:
        """A stored message has changed: push the whole of it, and its preview if it is the newest."""
        record = views.message_record(self.tx.connection, row, self.tx.preview)
        self.pushes.append(Push("message", record, self.conversation, row.rev, row.rev - 1, row.seq))
        if row.seq == self.head_seq:
            self.preview = views.as_json(views.preview_of_row(row, self.tx.preview))
        return record

    def message(self, seq: int) -> Any:
        """The stored row of a message."""
        return self.tx.connection.execute(
            select(message).where(message.c.conversation == self.conversation, message.c.seq == seq)
        ).one()


_SAVED = (
    "name",
    "avatar",
    "announcement",
    "link",
    "members",
    "head_seq",
    "head_rev",
    "head_time",
    "preview",
    "changed_rev",
    "first_kept",
    "own_days",
    "kept_days",
    "all_seq",
    "muted_until",
    "invites",
    "dissolved",
)
_ROOM_COLUMNS = [conversation.c[name] for name in ("conversation", "kind", "direct_key", "hot", *_SAVED)]
_SAVE = (
    update(conversation)
    .where(conversation.c.conversation == bindparam("key"))
    .values({name: bindparam(name) for name in (*_SAVED, "touched_at")})
)


@define
class Tx:
    """What a use case changes with. Synchronous; runs in the writer's transaction, perhaps more than once."""

    connection: Connection
    outbox: Outbox
    now: int
    preview: Callable[[str, Any], str]
    rooms: dict[str, Room] = field(factory=dict)
    touched: dict[str, list[int]] = field(factory=dict)
    calls: list[Callable[[], None]] = field(factory=list)

    def room(self, name: str) -> Room:
        """Lock a conversation's row; the same object for the same one. `NotFound` when there is none."""
        if name not in self.rooms:
            row = self.connection.execute(
                select(*_ROOM_COLUMNS).where(conversation.c.conversation == name).with_for_update()
            ).one_or_none()
            if row is None:
                raise missing("conversation")
            self.rooms[name] = Room(self, **row._mapping)
        return self.rooms[name]

    def adopt(self, **columns: Any) -> Room:
        """Make a conversation; its row is written at once."""
        columns = {"head_time": self.now, "created_at": self.now, "touched_at": self.now, **columns}
        self.connection.execute(conversation.insert(), columns)
        return self.room(columns["conversation"])

    def versions(self, users: Iterable[str]) -> dict[str, int]:
        """Take the next version of each of these users; the row changed for it is to be stamped with it."""
        numbers = next_versions(self.connection, {name: 1 for name in users})
        for name, number in numbers.items():
            self.touched.setdefault(name, []).append(number)
        return numbers

    def touch(self, conversation_id: str, users: Iterable[str], **values: Any) -> dict[str, int]:
        """Stamp the private half of these memberships with their users' next versions, changing ``values`` with it."""
        numbers = self.versions(users)
        if numbers:
            self.connection.execute(
                update(member)
                .where(member.c.conversation == conversation_id, member.c.user == bindparam("who"))
                .values(version=bindparam("number"), **values),
                [{"who": who, "number": number} for who, number in sorted(numbers.items())],
            )
        return numbers

    def save(self) -> None:
        """Write the heads of locked conversations, so that what is read back in this transaction sees them."""
        changed = [room for room in self.rooms.values() if room.first_rev or room.dirty]
        for room in sorted(changed, key=lambda room: room.conversation):
            self.connection.execute(
                _SAVE,
                {
                    "key": room.conversation,
                    "touched_at": self.now,
                    **{name: getattr(room, name) for name in _SAVED},
                },
            )

    def finish(self) -> None:
        """Write heads and outbox rows. Called once, last."""
        self.save()
        entries = [
            stored_entry(room.conversation, room.first_rev, room.head_rev, room.pushes)
            for room in self.rooms.values()
            if room.first_rev
        ]
        for name, numbers in sorted(self.touched.items()):
            entries.append(changed_entry(name, numbers))
        announce(self.connection, self.outbox, entries)
        for call in self.calls:
            after_commit(self.connection, call)

    def after_commit(self, call: Callable[[], None]) -> None:
        """Run ``call`` on the event loop once this is committed."""
        self.calls.append(call)


def next_versions(connection: Connection, steps: dict[str, int]) -> dict[str, int]:
    """Add ``steps`` to the users' versions in bulk; returns the newest number of each. Users are locked in id order."""
    result: dict[str, int] = {}
    by_step: dict[int, list[str]] = {}
    for name, step in steps.items():
        by_step.setdefault(step, []).append(name)
    if connection.dialect.name == "postgresql" and len(steps) > 1:
        connection.execute(
            select(version.c.user).where(version.c.user.in_(sorted(steps))).order_by(version.c.user).with_for_update()
        )
    for step, names in sorted(by_step.items()):
        for name, number in _BUMP.all(connection, step, texts(connection, names)):
            result[name] = number
    return result


_BUMP = CompiledStatement(
    update(version)
    .where(any_of(version.c.user, "users_"))
    .values(version=version.c.version + bindparam("step_"))
    .returning(version.c.user, version.c.version),
    "step_",
    "users_",
)


def require_users(connection: Connection, users: Iterable[str]) -> None:
    """`NotFound` unless all of these users exist."""
    wanted = sorted(set(users))
    if len(existing(connection, wanted)) != len(wanted):
        raise missing("user")


def existing(connection: Connection, users: Iterable[str]) -> set[str]:
    """Those of these ids that are accounts; what was deleted is none any more."""
    wanted = user.c.user.in_(sorted(set(users))), user.c.deleted_at.is_(None)
    return set(connection.execute(select(user.c.user).where(*wanted)).scalars())
