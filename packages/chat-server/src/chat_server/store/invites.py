"""Invitations: codes with each of which one account can be made, until a time. Only their digests are kept."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, delete, select, update

from chat_server.store import audit
from chat_server.store.schema import invite
from chat_server.store.tx import new_id

KEPT_MS = audit.KEPT_MS
"""How long one that is over is still listed."""


def digest_of(code: str) -> str:
    """What is kept of a code. Codes are random numbers of 128 bits, so that no salt is needed."""
    return hashlib.sha256(code.strip().encode()).hexdigest()


def _good(code: str, now: int) -> Any:
    return (invite.c.digest == digest_of(code)) & invite.c.used_by.is_(None) & (invite.c.expires_at > now)


def make(connection: Connection, now: int, by: str, lifetime_ms: int, note: str | None) -> tuple[str, str, int]:
    """Make one: its id, its code, which nobody can read again, and until when it is good."""
    connection.execute(delete(invite).where(invite.c.expires_at < now - KEPT_MS))
    name, code, expires_at = new_id(), secrets.token_urlsafe(16), now + lifetime_ms
    connection.execute(
        invite.insert(),
        {
            "invite": name,
            "digest": digest_of(code),
            "note": note,
            "made_by": by,
            "created_at": now,
            "expires_at": expires_at,
        },
    )
    audit.note(connection, now, by, "invite.new", name, expires_at=expires_at)
    return name, code, expires_at


def is_good(connection: Connection, code: str, now: int) -> bool:
    """Whether an account can be made with this code at this moment."""
    return connection.execute(select(invite.c.invite).where(_good(code, now))).first() is not None


def spend(connection: Connection, code: str, user: str, now: int) -> bool:
    """Use the code up for this user, in the transaction that makes the account; False: somebody was first."""
    spent = connection.execute(update(invite).where(_good(code, now)).values(used_by=user).returning(invite.c.invite))
    name = spent.scalar_one_or_none()
    if name is not None:
        audit.note(connection, now, user, "invite.used", name)
    return name is not None


def newest(connection: Connection, limit: int) -> Sequence[Any]:
    """Rows, the newest first."""
    return connection.execute(select(invite).order_by(invite.c.created_at.desc(), invite.c.invite).limit(limit)).all()


def revoke(connection: Connection, now: int, by: str, name: str) -> bool:
    """Delete one that nobody has used; False: there is none."""
    gone = connection.execute(delete(invite).where(invite.c.invite == name, invite.c.used_by.is_(None))).rowcount
    if gone:
        audit.note(connection, now, by, "invite.revoke", name)
    return bool(gone)
