"""What nobody needs any longer, as the table knows it. Every method is one transaction; `chat_oss.sweep` acts on it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chat_common.ports.database import Database
from sqlalchemy import Connection, delete, exists, select, update

from chat_oss import quota
from chat_oss.tables import content, file, staging
from chat_oss.upload import GRACE_MS
from chat_oss.uploads import drop

EXPIRE_BATCH = 500


class Leftovers:
    """Files past their time, keys that clients may no longer write to, contents that no file uses.

    A content is removed in two steps, so that no crash leaves objects that nobody knows or rows whose objects are gone:
    `mark_unused` first makes it impossible to use, `forget` drops its row after the objects were deleted. A content is
    held from `Uploads.reserve` to its own `finish`, at most `GRACE_MS`, and not marked meanwhile, whatever becomes of
    the upload, which may be finished by another try in another process.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def expire(self, now: int) -> int:
        """Drop begun uploads past their time, finished files not sent in time, files of recalled messages."""

        def work(connection: Connection) -> int:
            due = select(file).where(file.c.due_at <= now).order_by(file.c.due_at).limit(EXPIRE_BATCH)
            rows = connection.execute(due.with_for_update(skip_locked=True)).all()
            drop(connection, rows)
            quota.forget_days(connection, now)
            return len(rows)

        gone = 0
        while batch := await self._database.change(work):
            gone += batch
        return gone

    async def stagings(self, now: int, limit: int) -> Sequence[str]:
        """Staging keys whose links are over for good: their objects and parts are to be removed."""
        over = select(staging.c.staging).where(staging.c.until <= now - GRACE_MS).order_by(staging.c.until).limit(limit)
        return await self._database.read(lambda connection: connection.execute(over).scalars().all())

    async def forget_stagings(self, keys: Sequence[str]) -> None:
        """Drop the rows of staging keys whose objects are deleted."""
        await self._forget(delete(staging).where(staging.c.staging.in_(keys)))

    async def mark_unused(self, now: int, limit: int) -> Sequence[str]:
        """Make contents that no file uses and nobody holds impossible to use; all that are marked, to delete."""

        def work(connection: Connection) -> Sequence[str]:
            # Locked first, looked at afterwards: a reserve or finish that was quicker is then seen, a later one waits.
            # Those that are held come up when they are not any more: many of them must not stand before the others.
            free = content.c.held_at <= now - GRACE_MS
            unlooked = select(content.c.content).where(~content.c.checked, free).limit(limit)
            names = connection.execute(unlooked.with_for_update(skip_locked=True)).scalars().all()
            used = exists().where(file.c.content == content.c.content)
            rows = connection.execute(
                select(content.c.content, content.c.unused, used.label("used")).where(content.c.content.in_(names))
            ).all()
            in_use = [row.content for row in rows if row.used and not row.unused]
            unused = [row.content for row in rows if row.unused or not row.used]
            connection.execute(update(content).where(content.c.content.in_(in_use)).values(checked=True))
            connection.execute(update(content).where(content.c.content.in_(unused)).values(unused=True))
            return unused

        return await self._database.change(work)

    async def forget(self, contents: Sequence[str]) -> None:
        """Drop the rows of unused contents whose objects are deleted."""
        await self._forget(delete(content).where(content.c.content.in_(contents), content.c.unused))

    async def kept(self) -> int:
        """Bytes that all users together keep."""
        return await self._database.read(quota.used)

    async def _forget(self, statement: Any) -> None:
        await self._database.change(lambda connection: connection.execute(statement).rowcount)
