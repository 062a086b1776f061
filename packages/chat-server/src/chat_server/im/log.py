"""The log read as pushes: what replaces every push that was lost, late or never made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chat_common.events import MembersChanged, UserChanged
from chat_common.records import Push
from sqlalchemy import Connection, select

from chat_server.services import LogPage, Membership
from chat_server.store import views
from chat_server.store.schema import contact, conversation, item, member, message, user
from chat_server.store.tx import missing

PAGE = 500
"""Most rows of one answer."""
LATER = 1_000
"""Most memberships told that were stamped after what an answer holds."""


def page_between(connection: Connection, preview: views.Previewed, name: str, after: int, upto: int) -> LogPage:
    """What brings a member from rev ``after`` to ``upto``: newest states in order of stamp, each with its ``since``.

    Rows changed again later stand under their newest stamp, so stamps in between may be covered by ``since``, and the
    memberships stamped later are told beside them. Bounded by `PAGE`; one read, so all of it is of one moment.
    """
    room = connection.execute(select(conversation).where(conversation.c.conversation == name)).one_or_none()
    if room is None:
        raise missing("conversation")
    upto = min(upto, room.head_rev)
    rows = connection.execute(
        select(message)
        .where(message.c.conversation == name, message.c.rev > after, message.c.rev <= upto)
        .order_by(message.c.rev)
        .limit(PAGE)
    ).all()
    reach = rows[-1].rev if len(rows) == PAGE else upto
    found: list[tuple[int, str, Any, int]] = [
        (record.rev, "message", record, record.seq) for record in views.message_records(connection, rows, preview)
    ]
    changed = connection.execute(
        select(member)
        .where(member.c.conversation == name, member.c.rev > after, member.c.rev <= reach)
        .order_by(member.c.rev)
        .limit(PAGE)
    ).all()
    if len(changed) == PAGE and changed[0].rev < changed[-1].rev:
        reach = changed[-1].rev - 1  # the last stamp may be cut: it comes with the next page
        changed = [row for row in changed if row.rev <= reach]
        found = [one for one in found if one[0] <= reach]
    by_rev: dict[int, list[Any]] = {}
    for record in views.member_records(connection, changed, direct=room.kind == "direct"):
        by_rev.setdefault(record.rev, []).append(record)
    for rev, records in by_rev.items():
        for start in range(0, len(records), 200):
            found.append(
                (rev, "members", MembersChanged(conversation=name, rev=rev, members=records[start : start + 200]), 0)
            )
    if after < room.changed_rev <= reach:
        found.append((room.changed_rev, "conversation", views.conversation_record(room), 0))
    pushes = []
    since = after
    for rev, event, data, seq in sorted(found, key=lambda one: one[0]):
        pushes.append(Push(event, data, name, rev, since, seq))
        since = rev
    return LogPage(pushes, max(after, reach), _later(connection, name, max(after, reach)))


def _later(connection: Connection, name: str, reach: int) -> dict[str, Membership] | None:
    rows: Sequence[Any] = connection.execute(
        select(member.c.user, member.c.rev, member.c.from_seq, member.c.to_seq, member.c.earlier)
        .where(member.c.conversation == name, member.c.rev > reach)
        .order_by(member.c.rev)
        .limit(LATER + 1)
    ).all()
    if len(rows) > LATER:
        return None
    return {row.user: Membership(row.rev, views.spans_of(row)) for row in rows}


def changes_between(connection: Connection, who: str, after: int, upto: int, preview: Any) -> list[tuple[int, Push]]:
    """(version, push) of what only ``who`` sees, stamped after ``after``, newest states in order of version.

    A row stamped in (after, upto] may have been stamped again since, by the diffusion of a message, whose push does
    not carry the row: so rows stamped later belong to this answer too, under ``upto``. Newer states do no harm.
    """
    found: list[tuple[int, Push]] = []
    rows = connection.execute(
        views.inbox_query()
        .where(member.c.user == who, member.c.version > after, member.c.activity > 0)
        .order_by(member.c.version)
        .limit(PAGE)
    ).all()
    for record in views.inbox_records(connection, rows, preview):
        found.append((int(record.version or 0), Push("inbox", record)))
    contacts = connection.execute(
        select(contact).where(contact.c.user == who, contact.c.version > after).order_by(contact.c.version).limit(PAGE)
    ).all()
    found.extend((record.version, Push("contact", record)) for record in views.contact_records(connection, contacts))
    profile = connection.execute(select(user).where(user.c.user == who)).one()
    if after < profile.version:
        data = UserChanged(user=views.user_record(profile), version=profile.version)
        found.append((profile.version, Push("user", data)))
    if after < profile.items_version:
        mine = select(item).where(item.c.user == who, item.c.version > after).order_by(item.c.version).limit(PAGE)
        found.extend((row.version, Push("item", views.item_record(row))) for row in connection.execute(mine))
    return [(min(number, upto), push) for number, push in sorted(found, key=lambda one: one[0])]
