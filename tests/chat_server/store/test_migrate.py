"""Migrations: what they make is what the code expects, on both engines; never on somebody else's database."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from chat_common.settings import SetupError
from chat_server.store import migrate
from sqlalchemy import Engine, create_engine, inspect, text

from tests.chat_server.house import Store, owned_tables
from tests.services.postgresql import psycopg_url


def engine_of(store: Store) -> Engine:
    return create_engine(psycopg_url(store.url) if store.url else f"sqlite:///{store.folder / 'chat.db'}")


PARTIAL = {"files": {"chat_file_content_check", "chat_file_content_digest"}}
"""Indexes that the revisions make and the tables leave out, as chat_oss.tables says."""


def test_the_revisions_make_what_the_tables_say(store: Store) -> None:
    engine = engine_of(store)
    with engine.connect() as connection:
        for tables in owned_tables():
            ours = {table.name for table in tables.metadata.tables.values()}

            def mine(thing: Any, name: str, kind: str, _reflected: bool, _other: Any, ours: set[str] = ours) -> bool:
                return kind != "table" or name in ours

            context = MigrationContext.configure(
                connection,
                opts={"version_table": migrate.version_table(tables.owner), "include_object": mine},
            )
            differences = compare_metadata(context, tables.metadata)
            assert {change for change, *_ in differences} <= {"remove_index"}
            assert {index.name for _, index in differences} == PARTIAL.get(tables.owner, set())
        assert migrate.pending(connection, owned_tables()) == []
    engine.dispose()


def test_a_fresh_database_has_everything_pending_until_it_is_migrated(tmp_path: Path) -> None:
    engine, owned = create_engine(f"sqlite:///{tmp_path / 'chat.db'}"), owned_tables()
    with engine.begin() as connection:
        assert migrate.pending(connection, owned) == [tables.owner for tables in owned]
        migrate.refuse_foreign(connection, owned)
        assert migrate.upgrade_all(connection, owned) == [tables.owner for tables in owned]
        assert migrate.pending(connection, owned) == []
        assert migrate.upgrade_all(connection, owned) == []
    engine.dispose()


def test_a_database_of_somebody_else_is_refused_and_left_as_it_was(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'other.db'}")
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE invoices (id INTEGER)"))
        with pytest.raises(SetupError, match="invoices"):
            migrate.refuse_foreign(connection, owned_tables())
        assert inspect(connection).get_table_names() == ["invoices"]
    engine.dispose()


@pytest.mark.parametrize("dialect", ["sqlite", "postgresql+psycopg"])
def test_the_statements_can_be_shown_without_a_database(dialect: str) -> None:
    from sqlalchemy import create_mock_engine

    for tables in owned_tables():
        shown: list[str] = []
        engine: Any = create_mock_engine(f"{dialect}://", lambda statement, *rest: None)
        migrate.upgrade(engine, tables, sql=shown.append)
        written = "".join(shown)
        for table in tables.metadata.tables.values():
            assert f"CREATE TABLE {table.name}" in written
        assert f"INSERT INTO {migrate.version_table(tables.owner)}" in written
        assert ('COLLATE "C"' in written) <= dialect.startswith("postgresql")
