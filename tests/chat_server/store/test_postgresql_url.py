"""Addresses of databases as people copy them, and a real PgBouncer in transaction mode."""

from __future__ import annotations

import asyncio
import os
import shutil
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from chat_common.settings import SetupError
from chat_server.cli import main
from chat_server.server import Server
from chat_server.store.postgresql_url import read_address
from click.testing import CliRunner

from tests.services.absent import absent
from tests.services.postgresql import _unprivileged, fresh_database, running_postgresql
from tests.services.process import Child, free_port


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        ("postgres://u:p@h/d", {}),
        ("postgresql://u:p@h/d", {}),
        ("postgresql+asyncpg://u:p@h/d", {}),
        (" postgres://u:p@h/d\n", {}),
        ("postgres://u:p@h/d?sslmode=disable", {"ssl": False}),
        ("postgres://u:p@h/d?sslmode=prefer", {"ssl": "prefer"}),
        ("postgres://u:p@h/d?connect_timeout=7", {"timeout": 7.0}),
        ("postgres://u:p@h/d?application_name=a%20b", {"server_settings": {"application_name": "a b"}}),
        (
            "postgres://u:p@h/d?options=-c%20search_path%3Dchat%20-cwork_mem%3D8MB",
            {"server_settings": {"search_path": "chat", "work_mem": "8MB"}},
        ),
        ("postgres://u:p@h/d?target_session_attrs=read-write", {"target_session_attrs": "read-write"}),
        ("postgres://u:p@h/d?channel_binding=prefer&gssencmode=disable", {}),
    ],
)
def test_what_providers_write(text: str, arguments: dict[str, Any]) -> None:
    address = read_address(text)
    assert address.url.render_as_string(hide_password=False) == "postgresql+asyncpg://u:p@h/d"
    assert address.arguments == arguments
    assert not address.pooled


@pytest.mark.parametrize(
    ("mode", "verify", "hostname"),
    [
        ("require", ssl.CERT_NONE, False),
        ("verify-ca", ssl.CERT_REQUIRED, False),
        ("verify-full", ssl.CERT_REQUIRED, True),
        ("verify-full&sslrootcert=system", ssl.CERT_REQUIRED, True),
    ],
)
def test_sslmode_is_what_libpq_means_by_it(mode: str, verify: ssl.VerifyMode, hostname: bool) -> None:
    context = read_address(f"postgres://h/d?sslmode={mode}").arguments["ssl"]
    assert (context.verify_mode, context.check_hostname) == (verify, hostname)


@pytest.mark.parametrize(
    ("text", "pooled"),
    [
        ("postgres://h/d", False),
        ("postgres://h:6432/d", True),
        ("postgres://h:6543/d", True),
        ("postgres://h:6432/d?pgbouncer=false", False),
        ("postgres://h/d?pgbouncer=true", True),
    ],
)
def test_a_pooler_is_said_or_noticed(text: str, pooled: bool) -> None:
    address = read_address(text)
    assert address.pooled is pooled
    assert ("statement_cache_size" in address.arguments) is pooled


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "it is not an address such as"),
        ("chat", "it is not an address such as"),
        ("postgres://h:port/d", "it is not an address such as"),
        ("mysql://h/d", "mysql:// is not PostgreSQL"),
        ("postgresql+psycopg://h/d", "postgresql+psycopg:// is not PostgreSQL by asyncpg"),
        ("postgres://h/d?sslmode=always", "sslmode 'always' is not one of"),
        ("postgres://h/d?sslmode=verify-full&sslrootcert=/nowhere.pem", "its certificates cannot be read"),
        ("postgres://h/d?connect_timeout=soon", "connect_timeout is a number of seconds"),
        ("postgres://h/d?pgbouncer=perhaps", "pgbouncer is true or false"),
        ("postgres://h/d?options=fast", "options are written as -c name=value"),
        ("postgres://u:secret@h/d?sslmoed=require", "the option 'sslmoed' is not known"),
    ],
)
def test_what_is_wrong_is_one_sentence_without_the_password(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(SetupError) as refused:
        read_address(text)
    assert said in str(refused.value)
    environment = {"CHAT__PORTS__DATABASE": "postgresql", "CHAT__DATABASE__POSTGRESQL__URL": text or " "}
    result = CliRunner().invoke(main, ["--data", str(tmp_path), "check"], env=environment)
    assert result.exit_code == 1
    assert said in result.output
    assert "secret" not in result.output
    assert "Traceback" not in result.output


@contextmanager
def pgbouncer(address: str) -> Iterator[str]:
    """A real one in transaction mode with two servers, before that database; its address."""
    binary = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
    if binary is None:
        absent("no pgbouncer on PATH")
    with psycopg.connect(address) as connection:
        server = connection.info
        target = f"host=127.0.0.1 port={server.port} dbname={server.dbname}"
    with tempfile.TemporaryDirectory(prefix="chat-pgbouncer-", ignore_cleanup_errors=True) as name:
        folder, port = Path(name), free_port()
        folder.chmod(0o755)
        (folder / "users.txt").write_text('"chat" ""\n')
        (folder / "pgbouncer.ini").write_text(
            f"[databases]\nchat = {target}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n"
            f"auth_type = trust\nauth_file = {folder}/users.txt\npool_mode = transaction\ndefault_pool_size = 2\n"
            "unix_socket_dir =\nlogfile =\n"
        )
        user = _unprivileged()
        if user is not None:
            os.chown(folder, *user)
        child = Child([binary, str(folder / "pgbouncer.ini")], folder / "pgbouncer.log", user=user)

        def answers() -> bool:
            try:
                psycopg.connect(f"postgresql://chat@127.0.0.1:{port}/chat", connect_timeout=2).close()
            except psycopg.OperationalError:
                return False
            return True

        child.start(answers)
        try:
            yield f"postgres://chat@127.0.0.1:{port}/chat"
        finally:
            child.kill()


async def test_a_whole_server_behind_pgbouncer_in_transaction_mode(tmp_path: Path) -> None:
    with running_postgresql() as server, fresh_database(server.address) as address, pgbouncer(address) as pooled:
        environment = {
            "CHAT__PORTS__DATABASE": "postgresql",
            "CHAT__DATABASE__POSTGRESQL__URL": f"{pooled}?pgbouncer=true&application_name=chat",
        }
        words = ["--data", str(tmp_path)]
        migrated = await asyncio.to_thread(CliRunner().invoke, main, [*words, "migrate"], env=environment)
        assert migrated.exit_code == 0, migrated.output
        checked = await asyncio.to_thread(CliRunner().invoke, main, [*words, "check"], env=environment)
        assert checked.exit_code == 0, checked.output
        settings = {"server": {"data": str(tmp_path)}, "groups": {"strangers": "allow"}}
        async with Server(settings=settings, environ=environment) as chat:
            people = [(await chat.ensure_user(f"p{number}", f"P{number}")).user for number in range(6)]
            made = await chat.call("group.create", {"name": "Room", "members": people[1:]}, user=people[0])

            async def talk(user: str) -> None:
                for number in range(30):
                    body = {"conversation": made.conversation, "kind": "text", "body": {"text": f"{number}"}}
                    await chat.call("submit", body, user=user)
                    await chat.call("history", {"conversation": made.conversation}, user=user)
                    await chat.call("inbox.list", {}, user=user)

            await asyncio.gather(*(talk(user) for user in people))
            page = await chat.call("history", {"conversation": made.conversation, "limit": 100}, user=people[1])
            assert len(page.messages) == 100
