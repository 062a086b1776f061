"""`FileRecords` in the chat's own database: rights, quotas and intervals are asked in the same transaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chat_common.errors import Conflict, RateLimited, Unavailable
from chat_common.ports.database import Database
from chat_common.ports.files import GRACE_MS, UNSENT_MS, Finished, Quota, Upload
from sqlalchemy import Connection, Row, and_, delete, exists, select, update

from chat_server.files.tables import content, file, quota, staging
from chat_server.store import rights, views
from chat_server.store.schema import conversation, member
from chat_server.store.statements import upsert
from chat_server.store.tx import missing

DAY_MS = 86_400_000
EXPIRE_BATCH = 500
_COLUMNS = [column for column in file.c if column.name not in ("due_at", "seq", "failures")]


class SqlFileRecords:
    """`chat_common.ports.files.FileRecords` beside the messages."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def begin(self, upload: Upload, allowed: Quota, now: int) -> None:
        def work(connection: Connection) -> None:
            rights.may_send(connection, upload.user, upload.conversation, now)
            _count(connection, upload, allowed, now)
            connection.execute(file.insert(), _row(upload))
            connection.execute(staging.insert(), {"staging": upload.staging, "until": upload.expires_at})

        await self._database.change(work)

    async def undo(self, upload: Upload, now: int) -> None:
        def work(connection: Connection) -> None:
            gone = delete(file).where(file.c.file == upload.file, file.c.state == "begun")
            if connection.execute(gone).rowcount:
                day = quota.c.user == upload.user, quota.c.day == now // DAY_MS
                less = {"files": quota.c.files - 1, "bytes": quota.c.bytes - upload.size}
                connection.execute(update(quota).where(*day).values(less))

        await self._database.change(work)

    async def set_upload(self, name: str, upload: str) -> None:
        await self._database.change(
            lambda connection: (
                connection.execute(update(file).where(file.c.file == name).values(upload=upload)).rowcount
            )
        )

    async def mine(self, user: str, name: str) -> Upload:
        return await self._database.read(lambda connection: _upload(_own(connection, user, name)))

    async def reserve(self, key: str, name: str, now: int) -> None:
        def work(connection: Connection) -> None:
            of = select(file.c.user, file.c.conversation).where(file.c.staging == key, file.c.state == "begun")
            row = connection.execute(of).one_or_none()
            if row is not None:
                rights.may_send(connection, row.user, row.conversation, now)
            if not connection.execute(select(exists().where(staging.c.staging == key))).scalar_one():
                raise Conflict("this upload is finished or gone")
            connection.execute(content.insert(), {"content": name, "held_at": now})

        await self._database.change(work)

    async def finish(self, done: Finished, digest: str | None, now: int) -> str:
        def work(connection: Connection) -> str:
            row = connection.execute(select(file).where(file.c.file == done.file).with_for_update()).one_or_none()
            if row is not None and row.state == "finished" and row.ref == done.ref:
                return str(row.content)
            if row is None or row.state != "begun":
                raise Conflict("this upload is finished or gone")
            rights.may_send(connection, row.user, row.conversation, now)
            kept = _shared(connection, digest) or done.content
            if kept == done.content:
                mine = content.c.content == kept, ~content.c.doomed
                if not connection.execute(update(content).where(*mine).values(digest=digest, held_at=0)).rowcount:
                    raise Unavailable("this upload took too long; try again")
            else:
                connection.execute(update(content).where(content.c.content == done.content).values(held_at=0))
            connection.execute(
                update(file)
                .where(file.c.file == done.file)
                .values(
                    state="finished",
                    ref=done.ref,
                    content=kept,
                    stored_size=done.size,
                    width=done.width,
                    height=done.height,
                    animated=done.animated,
                    large=done.large,
                    due_at=now + UNSENT_MS,
                )
            )
            return kept

        return await self._database.change(work)

    async def failed(self, name: str, most: int) -> bool:
        def work(connection: Connection) -> bool:
            begun = file.c.file == name, file.c.state == "begun"
            more = update(file).where(*begun).values(failures=file.c.failures + 1).returning(file)
            row = connection.execute(more).one_or_none()
            if row is None or row.failures < most:
                return False
            _drop(connection, [row])
            return True

        return await self._database.change(work)

    async def drop(self, user: str, name: str) -> None:
        def work(connection: Connection) -> None:
            row = _own(connection, user, name)
            if row.seq is not None:
                raise Conflict("this file stands in a message")
            _drop(connection, [row])

        await self._database.change(work)

    async def readable(self, user: str, files: Sequence[str]) -> Sequence[Upload]:
        def work(connection: Connection) -> Sequence[Upload]:
            rows = connection.execute(
                select(file, member.c.from_seq, member.c.to_seq, member.c.earlier)
                .join(member, and_(member.c.conversation == file.c.conversation, member.c.user == user))
                .join(conversation, conversation.c.conversation == file.c.conversation)
                .where(
                    file.c.file.in_(set(files)),
                    file.c.state == "finished",
                    file.c.seq >= conversation.c.first_kept,
                )
            ).all()
            return [_upload(row) for row in rows if rights.visible(views.spans_of(row), row.seq)]

        return await self._database.read(work)

    async def expire(self, now: int) -> int:
        def work(connection: Connection) -> int:
            due = select(file).where(file.c.due_at <= now).order_by(file.c.due_at).limit(EXPIRE_BATCH)
            rows = connection.execute(due.with_for_update(skip_locked=True)).all()
            _drop(connection, rows)
            connection.execute(delete(quota).where(quota.c.day < now // DAY_MS - 1))
            return len(rows)

        gone = 0
        while batch := await self._database.change(work):
            gone += batch
        return gone

    async def stagings(self, now: int, limit: int) -> Sequence[str]:
        over = select(staging.c.staging).where(staging.c.until <= now - GRACE_MS).order_by(staging.c.until).limit(limit)
        return await self._database.read(lambda connection: connection.execute(over).scalars().all())

    async def forget_stagings(self, keys: Sequence[str]) -> None:
        await self._forget(delete(staging).where(staging.c.staging.in_(keys)))

    async def doom(self, now: int, limit: int) -> Sequence[str]:
        def work(connection: Connection) -> Sequence[str]:
            # Locked first, looked at afterwards: a reserve or finish that was quicker is then seen, a later one waits.
            # Those that are held come up when they are not any more: many of them must not stand before the others.
            free = content.c.held_at <= now - GRACE_MS
            unlooked = select(content.c.content).where(~content.c.checked, free).limit(limit)
            names = connection.execute(unlooked.with_for_update(skip_locked=True)).scalars().all()
            used = exists().where(file.c.content == content.c.content)
            rows = connection.execute(
                select(content.c.content, content.c.doomed, used.label("used")).where(content.c.content.in_(names))
            ).all()
            in_use = [row.content for row in rows if row.used and not row.doomed]
            doomed = [row.content for row in rows if row.doomed or not row.used]
            connection.execute(update(content).where(content.c.content.in_(in_use)).values(checked=True))
            connection.execute(update(content).where(content.c.content.in_(doomed)).values(doomed=True))
            return doomed

        return await self._database.change(work)

    async def forget(self, contents: Sequence[str]) -> None:
        await self._forget(delete(content).where(content.c.content.in_(contents), content.c.doomed))

    async def _forget(self, statement: Any) -> None:
        await self._database.change(lambda connection: connection.execute(statement).rowcount)


def _count(connection: Connection, upload: Upload, allowed: Quota, now: int) -> None:
    """Count first, under the row's lock; going over undoes it with all the rest."""
    fresh = upsert(connection, quota).values(user=upload.user, day=now // DAY_MS, files=1, bytes=upload.size)
    used = connection.execute(
        fresh.on_conflict_do_update(
            index_elements=["user", "day"],
            set_={"files": quota.c.files + 1, "bytes": quota.c.bytes + upload.size},
        ).returning(quota.c.files, quota.c.bytes)
    ).one()
    again = (DAY_MS - now % DAY_MS) / 1000
    if used.files > allowed.files:
        raise RateLimited(f"at most {allowed.files} uploads a day", limit=allowed.files, retry_after=again)
    if used.bytes > allowed.bytes:
        raise RateLimited(f"at most {allowed.bytes} bytes a day", field="size", limit=allowed.bytes, retry_after=again)


def _row(upload: Upload) -> dict[str, Any]:
    values = {column.name: getattr(upload, column.name) for column in _COLUMNS}
    return {**values, "due_at": upload.expires_at}


def _upload(row: Row[Any]) -> Upload:
    return Upload(**{column.name: getattr(row, column.name) for column in _COLUMNS}, sent=row.seq is not None)


def _own(connection: Connection, user: str, name: str) -> Row[Any]:
    mine = select(file).where(file.c.file == name, file.c.user == user, file.c.state.in_(("begun", "finished")))
    row = connection.execute(mine).one_or_none()
    if row is None:
        raise missing("file")
    return row


def _shared(connection: Connection, digest: str | None) -> str | None:
    """The live content of a digest, its row locked against `doom`."""
    if digest is None:
        return None
    known = select(content.c.content).where(content.c.digest == digest, ~content.c.doomed).with_for_update()
    found: str | None = connection.execute(known).scalar_one_or_none()
    return found


def _drop(connection: Connection, rows: Sequence[Row[Any]]) -> None:
    connection.execute(delete(file).where(file.c.file.in_([row.file for row in rows])))
    _look_again(connection, [row.content for row in rows])


def _look_again(connection: Connection, contents: Sequence[str | None]) -> None:
    names = [name for name in contents if name is not None]
    if names:
        connection.execute(update(content).where(content.c.content.in_(names)).values(checked=False))
