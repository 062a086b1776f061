"""The table of uploads and files. Every method is one transaction; rights and quotas are asked inside it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from chat_common.errors import Conflict, NotFound, Unavailable
from chat_common.ports.database import Database
from chat_common.ports.files import FileRights, OwnFile
from msgspec import UNSET
from sqlalchemy import Connection, Row, delete, exists, select, update

from chat_oss import quota
from chat_oss.quota import Quota
from chat_oss.tables import content, file, staging
from chat_oss.upload import UNSENT_MS, WORN, Finished, Upload, profile_place

_COLUMNS = [column for column in file.c if column.name not in ("due_at", "seq", "failures")]


class Uploads:
    """What users have begun and finished. Times are passed in, in ms since 1970.

    A content is a set of objects below one key prefix, shared by all files with the same digest. It is registered by
    `reserve` before its objects are written, and gets its digest by `finish` when all of them are: what has a digest is
    whole, and never written again. `chat_oss.leftovers` removes it.
    """

    def __init__(self, database: Database, rights: FileRights) -> None:
        self._database = database
        self._rights = rights

    async def begin(self, upload: Upload, allowed: Quota, now: int) -> None:
        """Store a begun upload, if its user may send to its conversation now, and count it against the quota.

        Raises what `FileRights.may_send` raises, and over the quota what `chat_oss.quota.count` does.
        """

        def work(connection: Connection) -> None:
            self._may_send(connection, upload.user, upload.conversation, now)
            quota.count(connection, upload, allowed, self._rights.joined_at(connection, upload.user), now)
            connection.execute(file.insert(), _row(upload))
            connection.execute(staging.insert(), {"staging": upload.staging, "until": upload.expires_at})

        await self._database.change(work)

    async def undo(self, upload: Upload, now: int) -> None:
        """Forget a begun upload whose beginning failed; the quota of ``now``, when it was begun, has it back.

        What the store may have of it stays known.
        """

        def work(connection: Connection) -> None:
            gone = delete(file).where(file.c.file == upload.file, file.c.state == "begun")
            if connection.execute(gone).rowcount:
                quota.give_back(connection, upload, now)

        await self._database.change(work)

    async def set_upload(self, name: str, upload: str) -> None:
        """Note the store's id of an upload in parts."""
        noted = update(file).where(file.c.file == name).values(upload=upload)
        await self._database.change(lambda connection: connection.execute(noted).rowcount)

    async def own(self, user: str, name: str) -> Upload:
        """The user's own upload or file; `NotFound` for all others alike."""
        return await self._database.read(lambda connection: _upload(_own(connection, user, name)))

    async def own_files(self, user: str, after: str, limit: int) -> Sequence[OwnFile]:
        """The user's finished files, by id."""
        mine = file.c.user == user, file.c.state == "finished", file.c.file > after
        wanted = select(file).where(*mine).order_by(file.c.file).limit(limit)
        rows = await self._database.read(lambda connection: connection.execute(wanted).all())
        return [
            OwnFile(
                file=row.file,
                name=row.name,
                type=row.type,
                size=row.stored_size,
                conversation=UNSET if row.conversation == profile_place(user) else row.conversation,
                seq=UNSET if row.seq is None or row.conversation == profile_place(user) else row.seq,
            )
            for row in rows
        ]

    async def reserve(self, key: str, name: str, now: int) -> None:
        """Register a new content for the upload with this staging key. It is held until its own `finish`, beside those
        of other tries to finish the same upload.

        `Conflict`: the upload is finished or gone. As `begin` when its user may not send there any more.
        """

        def work(connection: Connection) -> None:
            of = select(file.c.user, file.c.conversation).where(file.c.staging == key, file.c.state == "begun")
            row = connection.execute(of).one_or_none()
            if row is not None:
                self._may_send(connection, row.user, row.conversation, now)
            if not connection.execute(select(exists().where(staging.c.staging == key))).scalar_one():
                raise Conflict("This upload is finished or gone.")
            connection.execute(content.insert(), {"content": name, "held_at": now})

        await self._database.change(work)

    async def finish(self, done: Finished, digest: str | None, now: int) -> str:
        """Make a begun upload a file; ``done.content`` is held no more. Returns its content: the live one that has this
        digest; when there is none, or no digest, ``done.content``, which has the digest from now on.

        `Conflict`: it is finished (under another ref) or gone. `Unavailable`: its content is gone, for what it held was
        held by nobody any more. As `begin` when its user may not send there any more. With the ref it was finished
        with: its content, unchanged.
        """

        def work(connection: Connection) -> str:
            row = connection.execute(select(file).where(file.c.file == done.file).with_for_update()).one_or_none()
            if row is not None and row.state == "finished" and row.ref == done.ref:
                return str(row.content)
            if row is None or row.state != "begun":
                raise Conflict("This upload is finished or gone.")
            self._may_send(connection, row.user, row.conversation, now)
            chosen = _shared(connection, digest) or done.content
            if chosen == done.content:
                own = content.c.content == chosen, ~content.c.unused
                if not connection.execute(update(content).where(*own).values(digest=digest, held_at=0)).rowcount:
                    raise Unavailable("This upload took too long to verify. Finish it again.")
            else:
                connection.execute(update(content).where(content.c.content == done.content).values(held_at=0))
            quota.finished(connection, row, done.size)
            connection.execute(
                update(file)
                .where(file.c.file == done.file)
                .values(
                    state="finished",
                    ref=done.ref,
                    content=chosen,
                    type=done.type,
                    stored_size=done.size,
                    width=done.width,
                    height=done.height,
                    animated=done.animated,
                    large=done.large,
                    utf8=done.utf8,
                    unstripped=done.unstripped,
                    due_at=now + UNSENT_MS,
                )
            )
            return chosen

        return await self._database.change(work)

    async def failed(self, name: str, most: int) -> bool:
        """Count that a begun upload was found to be wrong. At the ``most``-th time it is forgotten: True."""

        def work(connection: Connection) -> bool:
            begun = file.c.file == name, file.c.state == "begun"
            more = update(file).where(*begun).values(failures=file.c.failures + 1).returning(file)
            row = connection.execute(more).one_or_none()
            if row is None or row.failures < most:
                return False
            drop(connection, [row])
            return True

        return await self._database.change(work)

    async def drop(self, user: str, name: str) -> None:
        """Forget an upload or unsent file of the user's. `NotFound`; `Conflict` when it was sent."""

        def work(connection: Connection) -> None:
            row = _own(connection, user, name)
            if row.seq is not None:
                raise Conflict("This file stands in a message. Recall the message to remove it.")
            drop(connection, [row])

        await self._database.change(work)

    async def worn(self, name: str) -> Upload:
        """The picture of a profile. `NotFound` when nobody wears it."""
        wanted = select(file).where(file.c.file == name, file.c.state == "finished", file.c.seq == WORN)
        row = await self._database.read(lambda connection: connection.execute(wanted).one_or_none())
        if row is None or row.conversation != profile_place(row.user):
            raise NotFound("This file does not exist.")
        return _upload(row)

    def _may_send(self, connection: Connection, user: str, place: str, now: int) -> None:
        self._rights.may_send(connection, user, "" if place == profile_place(user) else place, now)

    async def readable(self, user: str, files: Sequence[str]) -> Sequence[Upload]:
        """Those of these files that stand in messages which the user may read."""

        def work(connection: Connection) -> Sequence[Upload]:
            sent = file.c.file.in_(set(files)), file.c.state == "finished", file.c.seq.is_not(None)
            rows = connection.execute(select(file).where(*sent)).all()
            seen = self._rights.visible(connection, user, {(row.conversation, row.seq) for row in rows})
            return [_upload(row) for row in rows if (row.conversation, row.seq) in seen]

        return await self._database.read(work)


def drop(connection: Connection, rows: Iterable[Row[Any]]) -> None:
    """Forget files, within the caller's transaction; the sweep looks again at what they were made of."""
    gone = list(rows)
    quota.dropped(connection, gone)
    connection.execute(delete(file).where(file.c.file.in_([row.file for row in gone])))
    names = [row.content for row in gone if row.content is not None]
    if names:
        connection.execute(update(content).where(content.c.content.in_(names)).values(checked=False))


def _row(upload: Upload) -> dict[str, Any]:
    values = {column.name: getattr(upload, column.name) for column in _COLUMNS}
    return {**values, "due_at": upload.expires_at}


def _upload(row: Row[Any]) -> Upload:
    return Upload(**{column.name: getattr(row, column.name) for column in _COLUMNS}, sent=row.seq is not None)


def _own(connection: Connection, user: str, name: str) -> Row[Any]:
    own = select(file).where(file.c.file == name, file.c.user == user, file.c.state.in_(("begun", "finished")))
    row = connection.execute(own).one_or_none()
    if row is None:
        raise NotFound("This file does not exist.")
    return row


def _shared(connection: Connection, digest: str | None) -> str | None:
    """The live content of a digest, its row locked against `Leftovers.mark_unused`."""
    if digest is None:
        return None
    known = select(content.c.content).where(content.c.digest == digest, ~content.c.unused).with_for_update()
    found: str | None = connection.execute(known).scalar_one_or_none()
    return found
