"""Handles for accounts that were made before there were any: by the migration, or else in the background.

They go by what the account logs in by, else by the display name. One whose handle is taken gets a number behind it, is
named in the log, and noted in the audit as `user.handle`, which `chat-server check` sums up.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import structlog
from sqlalchemy import Connection, bindparam, column, select, table, update

from chat_server.names.confusables import skeleton
from chat_server.names.handles import NameRules
from chat_server.store.tx import new_id

PORTION = 200
NAMED = 20
"""Accounts of one portion that the log names; the audit has all."""
ACT = "user.handle"
KEEPING = NameRules()
"""What existing accounts are called by is theirs, reserved or not."""

# Not those of `store.schema`: a migration has to find the tables as they were at its time.
_user = table("chat_user", column("user"), column("name"), column("handle"), column("skeleton"), column("deleted_at"))
_identity = table("chat_identity", column("provider"), column("subject"), column("user"))
_audit = table("chat_audit", column("time"), column("entry"), column("actor"), column("act"), column("subject"))
_GIVE = (
    update(_user)
    .where(_user.c.user == bindparam("who"))
    .values(handle=bindparam("its_handle"), skeleton=bindparam("its_skeleton"))
)

log = structlog.get_logger("chat.store")


def give_all(connection: Connection) -> None:
    """Give everybody a handle."""
    while give_portion(connection):
        pass


def give_portion(connection: Connection) -> int:
    """Give at most 200 accounts a handle, those with a password first; how many there were."""
    has_password = (_identity.c.user == _user.c.user) & (_identity.c.provider == "password")
    nobody = _user.c.handle.is_(None) & _user.c.deleted_at.is_(None)
    by_password = select(_user.c.user, _identity.c.subject.label("name")).join(_identity, has_password).where(nobody)
    rows = connection.execute(by_password.limit(PORTION)).all()
    if not rows:
        rows = connection.execute(select(_user.c.user, _user.c.name).where(nobody).limit(PORTION)).all()
    if rows:
        _give(connection, rows)
    return len(rows)


def moved(connection: Connection, most: int) -> Sequence[str]:
    """Handles of accounts that got another one than their own, the newest notes of the audit first."""
    noted = select(_user.c.handle).join(_audit, _audit.c.subject == _user.c.user)
    return list(
        connection.execute(
            noted.where(_audit.c.act == ACT, _user.c.handle.is_not(None)).order_by(_audit.c.time.desc()).limit(most)
        ).scalars()
    )


def _give(connection: Connection, rows: Sequence[Any]) -> None:
    nearest = {row.user: next(KEEPING.candidates(row.name)) for row in rows}
    wanted = {skeleton(handle) for handle in nearest.values()}
    taken = set(connection.execute(select(_user.c.skeleton).where(_user.c.skeleton.in_(wanted))).scalars())
    given: list[dict[str, str]] = []
    moved: list[tuple[str, str, str]] = []
    for row in rows:
        handle = nearest[row.user]
        if skeleton(handle) in taken:
            handle = _free(connection, row.name, taken)
            if meant := KEEPING.derived(row.name):
                moved.append((row.user, meant, handle))
        taken.add(skeleton(handle))
        given.append({"who": row.user, "its_handle": handle, "its_skeleton": skeleton(handle)})
    connection.execute(_GIVE, given)
    if moved:
        _tell(connection, moved)


def _free(connection: Connection, name: str, taken: set[str]) -> str:
    for handle in KEEPING.candidates(name):
        mine = skeleton(handle)
        if mine not in taken:
            known = select(_user.c.user).where(_user.c.skeleton == mine)
            if connection.execute(known).first() is None:
                return handle
    raise AssertionError("candidates have no end")


def _tell(connection: Connection, moved: Sequence[tuple[str, str, str]]) -> None:
    """The audit gets no names: they would outlive an account that is deleted."""
    now = time.time_ns() // 1_000_000
    connection.execute(
        _audit.insert(),
        [
            {"time": now, "entry": new_id(), "actor": "migration", "act": ACT, "subject": who}
            for who, _wanted, _handle in moved
        ],
    )
    for who, wanted, handle in moved[:NAMED]:
        log.warning("handle_taken", user=who, wanted=wanted, handle=handle)
    if len(moved) > NAMED:
        log.warning("handles_taken", more=len(moved) - NAMED)
