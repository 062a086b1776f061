"""How much a user may upload: counted in the transaction that begins an upload, so that nobody goes over it."""

from __future__ import annotations

from typing import Any

from attrs import frozen
from chat_common.errors import RateLimited
from sqlalchemy import delete, update

from chat_oss.tables import quota
from chat_oss.upload import Upload

DAY_MS = 86_400_000


@frozen(kw_only=True)
class Quota:
    """What one user may begin a day (UTC): files, and bytes as announced."""

    files: int
    bytes: int


def count(connection: Any, upload: Upload, allowed: Quota, now: int) -> None:
    """Count a begun upload. `RateLimited` over the quota: the caller's transaction must then be undone.

    Counted first, under the row's lock, and compared afterwards: of two at once the second sees the first.
    """
    fresh = _insert(connection).values(user=upload.user, day=now // DAY_MS, files=1, bytes=upload.size)
    used = connection.execute(
        fresh.on_conflict_do_update(
            index_elements=["user", "day"],
            set_={"files": quota.c.files + 1, "bytes": quota.c.bytes + upload.size},
        ).returning(quota.c.files, quota.c.bytes)
    ).one()
    again = (DAY_MS - now % DAY_MS) / 1000
    if used.files > allowed.files:
        text = f"You may upload {allowed.files} files a day. Try again tomorrow."
        raise RateLimited(text, limit=allowed.files, retry_after=again)
    if used.bytes > allowed.bytes:
        text = f"size: You may upload {allowed.bytes} bytes a day. Try again tomorrow, or send a smaller file."
        raise RateLimited(text, field="size", limit=allowed.bytes, retry_after=again)


def give_back(connection: Any, upload: Upload, now: int) -> None:
    """Take back what `count` counted at ``now``: the beginning failed, and was not the user's fault."""
    day = quota.c.user == upload.user, quota.c.day == now // DAY_MS
    less = {"files": quota.c.files - 1, "bytes": quota.c.bytes - upload.size}
    connection.execute(update(quota).where(*day).values(less))


def forget_days(connection: Any, now: int) -> None:
    """Drop the counts of days that are over."""
    connection.execute(delete(quota).where(quota.c.day < now // DAY_MS - 1))


def _insert(connection: Any) -> Any:
    """The dialect's INSERT, which knows ON CONFLICT. Only the dialect in use is imported: both would cost a start."""
    if connection.dialect.name == "postgresql":
        from sqlalchemy.dialects.postgresql import insert as insert_postgresql

        return insert_postgresql(quota)
    from sqlalchemy.dialects.sqlite import insert

    return insert(quota)
