"""What keeps a server from starting is said in one sentence, with exit code 1 and no traceback."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from chat_server.cli import main
from chat_server.store import private
from click.testing import CliRunner


def said(*words: str, env: dict[str, str] | None = None) -> str:
    """The sentence of a start that must fail."""
    result = CliRunner().invoke(main, list(words), env=env or {})
    assert result.exit_code == 1, result.output
    assert isinstance(result.exception, SystemExit), result.exception
    lines = [line for line in result.output.splitlines() if line.startswith("Error: ")]
    assert len(lines) == 1, result.output
    return lines[0]


@pytest.mark.parametrize("words", [["--port", "0"], ["user", "list"], ["migrate"]])
def test_a_data_folder_that_is_a_file(tmp_path: Path, words: list[str]) -> None:
    path = tmp_path / "data"
    path.write_text("a file")
    assert f"{path} is a file, not a folder" in said("--data", str(path), *words)


@pytest.mark.parametrize("words", [["--port", "0"], ["user", "list"]])
def test_a_data_folder_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    def refuse(path: Any, *_: Any) -> int:
        raise PermissionError(13, os.strerror(13), str(path))

    # Tests may run as root, whom no mode keeps out.
    monkeypatch.setattr(private.os, "open", refuse)
    assert "cannot be written (Permission denied)" in said("--data", str(tmp_path), *words)


def test_a_data_folder_that_cannot_be_made() -> None:
    assert "/proc/nothing cannot be written" in said("--data", "/proc/nothing", "--port", "0")


def test_check_tells_of_a_wrong_data_folder(tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.write_text("a file")
    result = CliRunner().invoke(main, ["--data", str(path), "check"], env={})
    assert result.exit_code == 1
    assert "server.data" in result.output


def test_a_backup_into_nowhere(tmp_path: Path) -> None:
    assert CliRunner().invoke(main, ["--data", str(tmp_path), "user", "list"], env={}).exit_code == 0
    assert f"There is no folder {tmp_path / 'no'}" in said("--data", str(tmp_path), "backup", str(tmp_path / "no/x.db"))


POSTGRESQL = {
    "CHAT__PORTS__DATABASE": "postgresql",
    "CHAT__DATABASE__POSTGRESQL__URL": "postgresql://somebody:secret@127.0.0.1:1/chat",
}


@pytest.mark.parametrize("words", [["--port", "0"], ["user", "list"], ["migrate"]])
def test_a_database_server_that_is_not_there(tmp_path: Path, words: list[str]) -> None:
    line = said("--data", str(tmp_path), *words, env=POSTGRESQL)
    assert "does not answer" in line
    assert "[Errno 111]" in line
    assert "secret" not in line


def test_a_driver_that_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "asyncpg", None)
    line = said("--data", str(tmp_path), "--port", "0", env=POSTGRESQL)
    assert "install interesting-chat-server[postgresql]" in line


def test_a_wrong_choice_names_the_allowed_ones(tmp_path: Path) -> None:
    line = said("--data", str(tmp_path), "--port", "0", env={"CHAT__AUTH__REGISTRATION": "sometimes"})
    assert "registration: 'open', 'invite' or 'closed' is expected, got 'sometimes'" in line


@pytest.mark.parametrize("command", ["", "check", "backup {data}/copy", "restore {data}/x.db"])
def test_a_file_that_is_no_database(tmp_path: Path, command: str) -> None:
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    for name in ("chat.db", "x.db"):
        (data / name).write_text("Dear Ada, " * 100)
    words = ["--data", str(data), *(command.format(data=data).split() or ["--port", "0"])]
    result = CliRunner().invoke(main, words, env={})
    assert (result.exit_code, type(result.exception)) == (1, SystemExit), result.output
    last = result.output.splitlines()[-1]
    what = "x.db is not a backup of chat-server" if "restore" in command else "chat.db is not a database of SQLite"
    assert what in last, result.output
    assert {path.name for path in data.iterdir() if path.is_file()} - {"chat.lock"} == {"chat.db", "x.db"}
    assert (data / "chat.db").read_text().startswith("Dear Ada")


def test_something_else_where_postgresql_should_be(tmp_path: Path) -> None:
    def answer(listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                other, _ = listener.accept()
                with other:
                    other.recv(100)
                    other.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=answer, args=(listener,), daemon=True).start()
        url = f"postgresql://ada:secret@127.0.0.1:{listener.getsockname()[1]}/chat"
        env = {"CHAT__PORTS__DATABASE": "postgresql", "CHAT__DATABASE__POSTGRESQL__URL": url}
        line = said("--data", str(tmp_path / "data"), "--port", "0", env=env)
    assert "The database does not answer" in line
    assert "secret" not in line
