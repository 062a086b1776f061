"""``chat-server check`` says what is wrong with a database."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from chat_server.cli import main
from click.testing import CliRunner, Result

from tests.services.postgresql import asyncpg_url, fresh_database, running_postgresql


@pytest.fixture(scope="module")
def postgresql() -> Iterator[str]:
    with running_postgresql() as server:
        yield server.address


def run(data: Path, command: str, url: str) -> Result:
    environment = {"CHAT__PORTS__DATABASE": "postgresql", "CHAT__DATABASE__POSTGRESQL__URL": asyncpg_url(url)}
    return CliRunner().invoke(main, ["--data", str(data), command], env=environment)


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        ("DROP TABLE chat_outbox_state", "table chat_outbox_state is missing"),
        ("ALTER TABLE chat_outbox DROP COLUMN groups", "column chat_outbox.groups is missing"),
        ("DROP INDEX chat_member_hidden", "index chat_member_hidden is missing"),
    ],
)
def test_what_is_missing_is_named(tmp_path: Path, postgresql: str, harm: str, said: str) -> None:
    with fresh_database(postgresql) as address:
        assert "are not up to date: run `chat-server migrate`" in run(tmp_path, "check", address).output
        assert run(tmp_path, "migrate", address).exit_code == 0
        whole = run(tmp_path, "check", address)
        assert (whole.exit_code, "everything is in order" in whole.output) == (0, True), whole.output
        with psycopg.connect(address, autocommit=True) as connection:
            connection.execute(harm)
        harmed = run(tmp_path, "check", address)
        assert harmed.exit_code == 1
        assert said in harmed.output


def test_a_database_that_is_not_there_is_named(tmp_path: Path, postgresql: str) -> None:
    with fresh_database(postgresql) as address:
        missing = run(tmp_path, "check", address.rpartition("/")[0] + "/nowhere")
    assert missing.exit_code == 1
    assert 'database "nowhere" does not exist' in missing.output


def test_an_encoding_that_keeps_no_every_text_is_named(tmp_path: Path, postgresql: str) -> None:
    with psycopg.connect(postgresql, autocommit=True) as connection:
        connection.execute("CREATE DATABASE narrow ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0")
    address = postgresql.rpartition("/")[0] + "/narrow"
    assert run(tmp_path, "migrate", address).exit_code == 0
    narrow = run(tmp_path, "check", address)
    assert narrow.exit_code == 1
    assert "its encoding is LATIN1, and must be UTF8" in narrow.output


@pytest.mark.parametrize(
    ("wanted", "said"),
    [("5", "connections: 5 at most\n"), ("100000000", "max_connections is 100000000: for as many raise the limit")],
)
def test_how_many_connections_there_can_be(tmp_path: Path, wanted: str, said: str) -> None:
    environment = {"CHAT__CONNECTIONS__MAX_CONNECTIONS": wanted}
    result = CliRunner().invoke(main, ["--data", str(tmp_path), "check"], env=environment)
    assert (result.exit_code, said in result.output) == (0, True), result.output
