"""An application around the service of files: a database of its own, rights, and messages that files stand in."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from attrs import define, field
from chat_common.errors import NotFound
from chat_oss.attachments import SqlAttachments
from chat_oss.leftovers import Leftovers
from chat_oss.tables import content, create_tables, file
from chat_oss.uploads import Uploads
from chat_transaction.sql.database import EngineDatabase
from sqlalchemy import Row, create_engine, event, select

ROOM = "room"
MEMBERS = {"ada", "bob"}


def check_send(user: str, conversation: str) -> None:
    if user not in MEMBERS or conversation != ROOM:
        raise NotFound("conversation not found")


@define
class Application:
    """`FileRights` too: members read everything, and ``check_send`` says who sends."""

    database: EngineDatabase
    check_send: Callable[[str, str], None] = check_send
    joined: dict[str, int] = field(factory=dict)
    sent: dict[str, tuple[str, int]] = field(factory=dict)
    numbers: Iterator[int] = field(factory=lambda: itertools.count(1))

    def may_send(self, connection: Any, user: str, conversation: str, now: int) -> None:
        self.check_send(user, conversation)

    def joined_at(self, connection: Any, user: str) -> int:
        return self.joined.get(user, 0)

    def visible(self, connection: Any, user: str, messages: Collection[tuple[str, int]]) -> Collection[tuple[str, int]]:
        return messages if user in MEMBERS else []

    @property
    def uploads(self) -> Uploads:
        return Uploads(self.database, self)

    @property
    def leftovers(self) -> Leftovers:
        return Leftovers(self.database)

    async def send(self, user: str, name: str) -> None:
        """Put a finished file into a message: now members may read it."""
        seq = next(self.numbers)
        await self.database.change(
            lambda connection: SqlAttachments().attach(connection, user, ROOM, seq, "file", {"file": name})
        )
        self.sent[name] = ROOM, seq

    async def recall(self, name: str) -> None:
        """Take its message back."""
        place = self.sent.pop(name)
        await self.database.change(lambda connection: SqlAttachments().detach(connection, *place))

    async def rows(self) -> Sequence[Row[Any]]:
        """All files that there are."""
        return await self.database.read(lambda connection: connection.execute(select(file)).all())

    async def contents(self) -> Sequence[str]:
        """Every content that is registered."""
        return await self.database.read(
            lambda connection: connection.execute(select(content.c.content)).scalars().all()
        )


@contextlib.asynccontextmanager
async def open_application(path: Path) -> AsyncIterator[Application]:
    """Its database is a file below ``path``. What a test writes need not outlive the machine."""
    engine = create_engine(f"sqlite:///{path / 'files.db'}")

    @event.listens_for(engine, "connect")
    def _(connection: Any, _record: Any) -> None:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = OFF")

    try:
        async with EngineDatabase(engine).opened() as database:
            await database.change(create_tables)
            yield Application(database)
    finally:
        engine.dispose()
