"""What was done by whom: logins, failed ones, bans, roles, and what admins did. Never what people wrote.

A note is written in the transaction that does what it tells, so that there is neither one without the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from attrs import frozen
from sqlalchemy import Connection, delete, or_, select, tuple_

from chat_server.store.account_schema import audit
from chat_server.store.tx import new_id

KEPT_MS = 180 * 24 * 3_600_000
"""How long a note is kept."""


@frozen(kw_only=True)
class Noted:
    """``actor``: a user's id, ``console:NAME`` for the command line, ``app`` for the application around the server,
    or an address. ``subject``: the id of what it was done to, or a login name that was tried."""

    time: int
    entry: str
    actor: str
    act: str
    subject: str
    details: dict[str, Any]


def note(connection: Connection, now: int, actor: str, act: str, subject: str, **details: Any) -> None:
    """Write down that ``actor`` did ``act`` to ``subject``; details that are None are left out."""
    said = {name: value for name, value in details.items() if value is not None}
    connection.execute(
        audit.insert(),
        {
            "time": now,
            "entry": new_id(),
            "actor": actor,
            "act": act,
            "subject": subject,
            "details": msgspec.json.encode(said).decode() if said else None,
        },
    )


def notes(
    connection: Connection,
    *,
    about: str | None = None,
    act: str | None = None,
    before: tuple[int, str] | None = None,
    limit: int = 50,
) -> Sequence[Noted]:
    """The newest notes first. ``about``: by this one or to this one. ``act``: its name, or the beginning of it up to a
    dot. ``before``: older than the note with this time and entry."""
    wanted = select(audit)
    if about is not None:
        wanted = wanted.where(or_(audit.c.actor == about, audit.c.subject == about))
    if act is not None:
        wanted = wanted.where(or_(audit.c.act == act, audit.c.act.startswith(f"{act}.", autoescape=True)))
    if before is not None:
        wanted = wanted.where(tuple_(audit.c.time, audit.c.entry) < before)
    rows = connection.execute(wanted.order_by(audit.c.time.desc(), audit.c.entry.desc()).limit(limit))
    return [
        Noted(
            time=row.time,
            entry=row.entry,
            actor=row.actor,
            act=row.act,
            subject=row.subject,
            details=msgspec.json.decode(row.details) if row.details else {},
        )
        for row in rows
    ]


def forget_notes(connection: Connection, now: int, limit: int = 1_000) -> int:
    """Delete notes that are older than `KEPT_MS`, at most ``limit``; how many went."""
    old = connection.execute(
        select(audit.c.time, audit.c.entry).where(audit.c.time < now - KEPT_MS).order_by(audit.c.time).limit(limit)
    ).all()
    for row in old:
        connection.execute(delete(audit).where(audit.c.time == row.time, audit.c.entry == row.entry))
    return len(old)
