"""What keeps a server from starting is said in one sentence, with exit code 1 and no traceback."""

from __future__ import annotations

import os
import sys
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


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "chat.db").write_text("this is long enough to be looked at, and is no database")
    assert "(file is not a database)" in said("--data", str(tmp_path), "--port", "0")


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
