"""Binds files to messages, inside the transaction that stores or recalls the message."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chat_common.errors import Conflict, Invalid, NotFound
from chat_common.ports.files import FILE_KINDS
from sqlalchemy import Connection, Row, select, update

from chat_oss.tables import file as table
from chat_oss.upload import WORN, profile_place

_FAMILY = {"image": "image/", "voice": "audio/", "video": "video/"}
_SLOWEST, _FASTEST = 50, 50_000_000
"""Bytes a second between which a recording is plausible."""


class SqlAttachments:
    """`chat_common.ports.files.Attachments` over the table of files."""

    kinds = FILE_KINDS

    def attach(
        self, connection: Connection, user: str, conversation: str, seq: int, kind: str, body: Mapping[str, Any]
    ) -> dict[str, Any]:
        row = _free(connection, user, conversation, body["file"], "body.file")
        family = _FAMILY.get(kind, "")
        # A recorder of sound alone may well write the same container as for pictures.
        alike = ("audio/", "video/webm", "video/mp4", "video/ogg") if kind == "voice" else (family,)
        if not row.type.startswith(alike) or (kind == "image" and row.width is None):
            raise Invalid(f"body.file: A file of type {row.type} cannot be sent as {kind}.", field="body.file")
        facts: dict[str, Any] = {"name": row.name, "type": row.type, "size": row.stored_size}
        taken = [row.file]
        if kind == "image":
            facts.update(width=row.width, height=row.height)
            if row.animated:
                facts["animated"] = True
        if "duration" in body:
            _check_duration(row.stored_size, body["duration"])
        if "poster" in body:
            poster = _free(connection, user, conversation, body["poster"], "body.poster")
            if poster.width is None or poster.file == row.file:
                raise Invalid("body.poster: The poster must be another file, and a picture.", field="body.poster")
            facts.update(width=poster.width, height=poster.height)
            taken.append(poster.file)
        connection.execute(update(table).where(table.c.file.in_(taken)).values(seq=seq, due_at=None))
        return {**{key: value for key, value in body.items() if key != "animated"}, **facts}

    def detach(self, connection: Connection, conversation: str, seq: int) -> None:
        connection.execute(
            update(table).where(table.c.conversation == conversation, table.c.seq == seq).values(state="gone", due_at=0)
        )

    def wear(self, connection: Connection, user: str, file: str | None) -> None:
        place = profile_place(user)
        self.detach(connection, place, WORN)
        if file is None:
            return
        row = _free(connection, user, place, file, "file")
        if row.width is None:
            raise Invalid("file: This file is not a picture.", field="file")
        worn = update(table).where(table.c.file == file).values(seq=WORN, due_at=None)
        connection.execute(worn)

    def forget(self, connection: Connection, user: str) -> None:
        unsent = table.c.user == user, table.c.seq.is_(None)
        connection.execute(update(table).where(*unsent).values(due_at=0))


def _free(connection: Connection, user: str, conversation: str, wanted: str, field: str) -> Row[Any]:
    row = connection.execute(
        select(table)
        .where(
            table.c.file == wanted,
            table.c.user == user,
            table.c.conversation == conversation,
            table.c.state == "finished",
        )
        .with_for_update()
    ).one_or_none()
    if row is None:
        raise NotFound(f"{field}: You have no such finished file in this conversation.", field=field)
    if row.seq is not None:
        raise Conflict(f"{field}: This file was sent before. Upload it again to send it again.", field=field)
    return row


def _check_duration(size: int, duration: int) -> None:
    if not _SLOWEST <= size * 1000 / duration <= _FASTEST:
        raise Invalid(f"body.duration: A recording of {size} bytes cannot last {duration} ms.", field="body.duration")
