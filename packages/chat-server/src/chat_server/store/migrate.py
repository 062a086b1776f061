"""Migrations: alembic, one version table an owner of tables; never silently on a database that is not ours."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

from chat_common.records import Tables
from chat_common.settings import SetupError
from sqlalchemy import Connection, inspect, text

OWNER = "server"
REVISIONS = str(Path(__file__).parent / "migrations")


def version_table(owner: str) -> str:
    return f"chat_version_{owner}"


def head(tables: Tables) -> str:
    """The newest revision of an owner's folder: revision files are numbered in their order."""
    names = sorted(path.stem for path in Path(tables.revisions).glob("*.py") if not path.stem.startswith("__"))
    if not names:
        raise SetupError(f"The tables of {tables.owner} have no revisions in their folder.")
    return names[-1]


def current(connection: Connection, owner: str) -> str | None:
    """The revision a database stands at, or None when it has never seen these tables."""
    if not inspect(connection).has_table(version_table(owner)):
        return None
    return connection.execute(text(f"SELECT version_num FROM {version_table(owner)}")).scalar_one_or_none()


def pending(connection: Connection, owned: Sequence[Tables]) -> list[str]:
    """Owners whose tables are not at their newest revision."""
    return [tables.owner for tables in owned if current(connection, tables.owner) != head(tables)]


def damage(connection: Connection, owned: Sequence[Tables]) -> list[str]:
    """What is missing of tables that are at their newest revision; a line each. And whether every text can be kept."""
    found: list[str] = []
    if connection.dialect.name == "postgresql":
        encoding = connection.exec_driver_sql("SHOW server_encoding").scalar_one()
        if encoding != "UTF8":
            found.append(f"its encoding is {encoding}, and must be UTF8")
    inspector = inspect(connection)
    present = set(inspector.get_table_names())
    for table in (table for tables in owned for table in tables.metadata.sorted_tables):
        if table.name not in present:
            found.append(f"table {table.name} is missing")
            continue
        columns = {column["name"] for column in inspector.get_columns(table.name)}
        indexes = {index["name"] for index in inspector.get_indexes(table.name)}
        found += [f"column {table.name}.{each.name} is missing" for each in table.columns if each.name not in columns]
        found += [f"index {each.name} is missing" for each in table.indexes if each.name not in indexes]
    return sorted(found)


def refuse_foreign(connection: Connection, owned: Sequence[Tables]) -> None:
    """`SetupError` for a database that holds other tables but none of ours: it is somebody else's."""
    names = set(inspect(connection).get_table_names())
    if names and not any(version_table(tables.owner) in names for tables in owned):
        shown = ", ".join(sorted(names)[:3])
        raise SetupError(
            f"this database holds other tables ({shown} …) and none of ours; if it is the right one, "
            "run `chat-server migrate` once"
        )


def upgrade(connection: Connection, tables: Tables, *, sql: Callable[[str], None] | None = None) -> None:
    """Bring one owner's tables to their newest revision; ``sql`` gets the statements instead of the database."""
    from alembic.operations import Operations  # costs a tenth of a second: only when there is something to do
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory

    script = ScriptDirectory(tables.revisions, version_locations=[tables.revisions])
    buffer = StringIO()
    options: dict[str, Any] = {
        "version_table": version_table(tables.owner),
        "fn": lambda revision, _context: script._upgrade_revs("head", revision),
        "render_as_batch": True,
        "as_sql": sql is not None,
        "output_buffer": buffer,
        "target_metadata": tables.metadata,
    }
    context = MigrationContext.configure(connection, opts=options)
    with Operations.context(context):
        context.run_migrations()
    if sql is not None:
        sql(buffer.getvalue())


def upgrade_all(connection: Connection, owned: Sequence[Tables]) -> list[str]:
    """Bring all owners' tables up; which of them had something to do."""
    done = []
    for tables in owned:
        if current(connection, tables.owner) != head(tables):
            upgrade(connection, tables)
            done.append(tables.owner)
    return done
