"""A database of the time when the server itself had the tables of files: they are taken over with what is in them."""

from __future__ import annotations

from typing import Any

from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from chat_oss import quota, tables
from chat_server.store import migrate
from sqlalchemy import Connection, create_engine, inspect, text

from tests.chat_oss import pictures
from tests.chat_server.files.test_files import begun_and_put, open_house
from tests.chat_server.house import Store, owned_tables
from tests.services.postgresql import psycopg_url

LAST_OF_THE_SERVER = "files_0003"


def take_back(connection: Connection, revision: str) -> None:
    """Make the tables what they were at this revision."""
    script = ScriptDirectory(tables.REVISIONS, version_locations=[tables.REVISIONS])
    options: dict[str, Any] = {
        "version_table": migrate.version_table(tables.OWNER),
        "fn": lambda current, _context: script._downgrade_revs(revision, current),
        "render_as_batch": True,
    }
    context = MigrationContext.configure(connection, opts=options)
    with Operations.context(context):
        context.run_migrations()


async def test_files_of_an_older_server_are_still_there(store: Store) -> None:

    async with open_house(store.settings) as house:
        sent = await house.upload(house.ada, b"%PDF-1.7 sent", "application/pdf", "old.pdf")
        await house.submit(house.ada, "file", file=sent.file)
        unsent = await house.upload(house.ada, b"not sent yet", "text/plain")
        begun = await begun_and_put(house, house.bob)
        ada, bob, room, clock = house.ada, house.bob, house.room, house.clock
    engine = create_engine(psycopg_url(store.url) if store.url else f"sqlite:///{store.folder / 'chat.db'}")
    with engine.begin() as connection:
        take_back(connection, LAST_OF_THE_SERVER)
        columns = {column["name"] for column in inspect(connection).get_columns("chat_file_content")}
        assert {"doomed", "held_at"} <= columns
        assert connection.execute(text("SELECT count(*) FROM chat_file_content")).scalar_one() == 2
        assert migrate.pending(connection, owned_tables()) == [tables.OWNER]
        if store.url:  # a server brings up its own SQLite file, and nobody else's database
            assert migrate.upgrade_all(connection, owned_tables()) == [tables.OWNER]
    engine.dispose()
    async with open_house(store.settings, clock) as house:
        [linked] = (await house.call(bob, "file.links", files=[sent.file])).files
        assert (linked.name, (await house.web.get(linked.url)).content) == ("old.pdf", b"%PDF-1.7 sent")
        kept = len(b"%PDF-1.7 sent") + len(b"not sent yet") + len(pictures.jpeg())
        assert await house.server.database.read(quota.used) == kept
        assert (await house.call(bob, "upload.finish", file=begun)).type == "image/jpeg"
        house.room = room
        receipt = await house.submit(ada, "file", file=unsent.file)
        await house.sweep()
        assert (await house.message(bob, receipt.seq)).body["file"] == unsent.file
        assert len(await house.urls(bob, sent.file, unsent.file)) == 2
