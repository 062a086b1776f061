"""Invitations: codes with each of which one account can be made, until a time. Only their digests are kept."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, delete, select, update

from chat_server.store import audit
from chat_server.store.account_schema import invite
from chat_server.store.schema import user
from chat_server.store.statements import upsert
from chat_server.store.tx import new_id

FIRST_ADMIN = "first-admin"
"""The one invitation of this name: two servers that start at once have one good code between them."""
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


def role_by(connection: Connection, code: str, now: int) -> str | None:
    """What an account becomes that is made with this code at this moment; None: none can be made."""
    role: str | None = connection.execute(select(invite.c.role).where(_good(code, now))).scalar_one_or_none()
    return None if role == "admin" and admin_exists(connection) else role


def spend(connection: Connection, code: str, who: str, now: int) -> bool:
    """Use the code up for this user, in the transaction that makes the account, and give the user its role; False:
    somebody was first."""
    if role_by(connection, code, now) is None:
        return False
    used = update(invite).where(_good(code, now)).values(used_by=who).returning(invite.c.invite, invite.c.role)
    spent = connection.execute(used).one_or_none()
    if spent is None:
        return False
    audit.note(connection, now, who, "invite.used", spent.invite)
    if spent.role != "user":
        connection.execute(update(user).where(user.c.user == who).values(role=spent.role))
        audit.note(connection, now, who, "user.role", who, role=spent.role)
    return True


def admin_exists(connection: Connection) -> bool:
    """Whether anybody may call ``admin.*``."""
    return connection.execute(select(user.c.user).where(user.c.role == "admin").limit(1)).first() is not None


def for_first_admin(connection: Connection, now: int, lifetime_ms: int) -> str | None:
    """Make the code with which the first admin's account is made, in the place of an earlier one; None: there are
    accounts already. It stops being good when an admin is made in another way."""
    if connection.execute(select(user.c.user).limit(1)).first() is not None:
        return None
    connection.execute(delete(invite).where(invite.c.invite == FIRST_ADMIN, invite.c.used_by.is_(None)))
    code = secrets.token_urlsafe(16)
    row = {
        "invite": FIRST_ADMIN,
        "digest": digest_of(code),
        "note": "the first admin",
        "made_by": "start",
        "created_at": now,
        "expires_at": now + lifetime_ms,
        "role": "admin",
    }
    made = connection.execute(upsert(connection, invite).values(row).on_conflict_do_nothing())
    return code if made.rowcount else None


def newest(connection: Connection, limit: int) -> Sequence[Any]:
    """Rows, the newest first."""
    return connection.execute(select(invite).order_by(invite.c.created_at.desc(), invite.c.invite).limit(limit)).all()


def revoke(connection: Connection, now: int, by: str, name: str) -> bool:
    """Delete one that nobody has used; False: there is none."""
    gone = connection.execute(delete(invite).where(invite.c.invite == name, invite.c.used_by.is_(None))).rowcount
    if gone:
        audit.note(connection, now, by, "invite.revoke", name)
    return bool(gone)
