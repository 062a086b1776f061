"""How much a user may upload and keep: counted in the transactions that change it, so that nobody goes over it.

What a user keeps is the sum of the user's rows in the table of files: what was announced while an upload is under way,
then what is stored. `usage` holds that sum, and every change of a row changes it in the same transaction.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from attrs import frozen
from chat_common.errors import NotPermitted, RateLimited, Unavailable
from sqlalchemy import Row, Table, delete, func, select, update

from chat_oss.tables import quota, usage
from chat_oss.upload import Upload

DAY_MS = 86_400_000
NEW_MS = DAY_MS
"""How long an account is new."""
FULL_SECONDS = 600.0
"""When to try again where all users together keep too much."""


@frozen(kw_only=True)
class Quota:
    """``files``, ``bytes``: what one user may begin a day (UTC), bytes as announced; ``new_bytes``: what an account may
    announce while it is new. ``user_bytes``: what one user may keep; ``total_bytes``: what all may; 0: no bound."""

    files: int
    bytes: int
    new_bytes: int = 0
    user_bytes: int = 0
    total_bytes: int = 0


def count(connection: Any, upload: Upload, allowed: Quota, joined_at: int, now: int) -> None:
    """Count a begun upload of an account made at ``joined_at``. `RateLimited`, `NotPermitted` or `Unavailable` over the
    quota: the caller's transaction must then be undone.

    Counted first, under the rows' locks, and compared afterwards: of two at once the second sees the first.
    """
    _count_day(connection, upload, allowed, now)
    _count_new(connection, upload, allowed, joined_at, now)
    kept = _add(connection, upload.user, upload.size)
    if allowed.user_bytes and kept > allowed.user_bytes:
        text = f"size: You may keep {allowed.user_bytes} bytes of files. Recall messages with files to make room."
        raise NotPermitted(text, field="size", limit=allowed.user_bytes)
    if allowed.total_bytes and used(connection) > allowed.total_bytes:
        text = "This server has no room for more files. Try again later, or ask who runs it."
        raise Unavailable(text, limit=allowed.total_bytes, retry_after=FULL_SECONDS)


def give_back(connection: Any, upload: Upload, now: int) -> None:
    """Take back what `count` counted at ``now``: the beginning failed, and was not the user's fault."""
    day = quota.c.user == upload.user, quota.c.day == now // DAY_MS
    less = {"files": quota.c.files - 1, "bytes": quota.c.bytes - upload.size}
    connection.execute(update(quota).where(*day).values(less))
    _add(connection, upload.user, -upload.size)


def finished(connection: Any, row: Row[Any], size: int) -> None:
    """The upload of ``row`` turned out to be ``size`` bytes."""
    _add(connection, row.user, size - row.size)


def dropped(connection: Any, rows: Iterable[Row[Any]]) -> None:
    """These files are forgotten."""
    less: Counter[str] = Counter()
    for row in rows:
        less[row.user] += row.size if row.state == "begun" else row.stored_size
    for user in sorted(less):  # in one order, so that two transactions never wait for each other
        _add(connection, user, -less[user])


def used(connection: Any) -> int:
    """Bytes that all users together keep."""
    return int(connection.execute(select(func.coalesce(func.sum(usage.c.bytes), 0))).scalar_one())


def forget_days(connection: Any, now: int) -> None:
    """Drop the counts of days that are over."""
    connection.execute(delete(quota).where(quota.c.day < now // DAY_MS - 1))


def _count_day(connection: Any, upload: Upload, allowed: Quota, now: int) -> None:
    fresh = _insert(connection, quota).values(user=upload.user, day=now // DAY_MS, files=1, bytes=upload.size)
    today = connection.execute(
        fresh.on_conflict_do_update(
            index_elements=["user", "day"],
            set_={"files": quota.c.files + 1, "bytes": quota.c.bytes + upload.size},
        ).returning(quota.c.files, quota.c.bytes)
    ).one()
    again = (DAY_MS - now % DAY_MS) / 1000
    if today.files > allowed.files:
        text = f"You may upload {allowed.files} files a day. Try again tomorrow."
        raise RateLimited(text, limit=allowed.files, retry_after=again)
    if today.bytes > allowed.bytes:
        text = f"size: You may upload {allowed.bytes} bytes a day. Try again tomorrow, or send a smaller file."
        raise RateLimited(text, field="size", limit=allowed.bytes, retry_after=again)


def _count_new(connection: Any, upload: Upload, allowed: Quota, joined_at: int, now: int) -> None:
    left = joined_at + NEW_MS - now
    if not allowed.new_bytes or left <= 0:
        return
    # The first 24 hours lie in two days at most, and so many are kept.
    announced = connection.execute(select(func.sum(quota.c.bytes)).where(quota.c.user == upload.user)).scalar_one()
    if announced > allowed.new_bytes:
        text = f"size: A new account may upload {allowed.new_bytes} bytes on its first day. Try again tomorrow."
        raise RateLimited(text, field="size", limit=allowed.new_bytes, retry_after=left / 1000)


def _add(connection: Any, user: str, size: int) -> int:
    """Change what a user keeps; what it is now."""
    fresh = _insert(connection, usage).values(user=user, bytes=size)
    return int(
        connection.execute(
            fresh.on_conflict_do_update(index_elements=["user"], set_={"bytes": usage.c.bytes + size}).returning(
                usage.c.bytes
            )
        ).scalar_one()
    )


def _insert(connection: Any, table: Table[Any]) -> Any:
    """The dialect's INSERT, which knows ON CONFLICT. Only the dialect in use is imported: both would cost a start."""
    if connection.dialect.name == "postgresql":
        from sqlalchemy.dialects.postgresql import insert as insert_postgresql

        return insert_postgresql(table)
    from sqlalchemy.dialects.sqlite import insert

    return insert(table)
