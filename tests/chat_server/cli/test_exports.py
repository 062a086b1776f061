"""``chat-server user export``, and what ``user delete`` leaves in the folder of files."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import stat
import zipfile
from pathlib import Path
from typing import Any

import pytest
from chat_server.cli import main
from click.testing import CliRunner, Result

from tests.chat_oss import pictures
from tests.chat_server.files.test_files import open_house


def run(folder: Path, *words: str) -> Result:
    return CliRunner().invoke(main, ["--data", str(folder / "data"), "user", *words], env={})


async def _spoken(folder: Path) -> str:
    settings: dict[str, Any] = {"server": {"data": str(folder / "data")}, "groups": {"strangers": "allow"}}
    async with open_house(settings) as house:
        file = await house.upload(house.ada, b"a file of ada's", "text/plain", "a.txt")
        await house.submit(house.ada, "file", file=file.file)
        await house.submit(house.ada, "text", text="words")
        data = pictures.jpeg()
        begun = await house.call(house.ada, "upload.begin", name="me.jpg", type="image/jpeg", size=len(data))
        await house.web.put(begun.put.url, headers=begun.put.headers, content=data)
        worn = await house.call(house.ada, "upload.finish", file=begun.file)
        await house.call(house.ada, "user.avatar", file=worn.file)
        # Beside the running server, which knows nothing of it.
        made = await asyncio.to_thread(run, folder, "export", "ada", "--out", str(folder / "beside.zip"))
        assert made.exit_code == 0, made.output
        return file.file


@pytest.fixture
def spoken(tmp_path: Path) -> str:
    """A folder in which ada has said things; the id of her file."""
    return asyncio.run(_spoken(tmp_path))


def test_one_zip_that_only_its_owner_reads(spoken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    made = run(tmp_path, "export", "ada", "--json")
    assert made.exit_code == 0, made.output
    told = json.loads(made.output)
    assert (told["file"], told["conversations"], told["files"], told["missing"]) == ("chat-ada.zip", 1, 2, [])
    for name in ("chat-ada.zip", "beside.zip"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600
        with zipfile.ZipFile(tmp_path / name) as archive:
            assert archive.read(f"files/{spoken}/a.txt") == b"a file of ada's"
    before = (tmp_path / "chat-ada.zip").read_bytes()
    again = run(tmp_path, "export", "ada")
    assert (again.exit_code, "is there already" in again.output) == (1, True)
    assert (tmp_path / "chat-ada.zip").read_bytes() == before
    noted = CliRunner().invoke(main, ["--data", str(tmp_path / "data"), "audit", "--act", "user.export"], env={})
    assert "words" not in noted.output

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    for words, said in (
        (["nobody"], "This user 'nobody' does not exist."),
        (["ada", "--out", str(tmp_path)], "is a folder"),
        (["ada", "--out", str(tmp_path / "none" / "a.zip")], "cannot be written: No such file or directory."),
        (["ada", "--out", str(tmp_path / "full.zip")], "the disk is full"),
    ):
        with monkeypatch.context() as patched:
            if "full.zip" in words[-1]:
                patched.setattr(os, "fsync", full)
            failed = run(tmp_path, "export", *words)
        assert failed.exit_code != 0
        assert said in failed.output
        assert "Traceback" not in failed.output
    assert not (tmp_path / "full.zip").exists()


def test_the_console_deletes_files_and_picture_too(spoken: str, tmp_path: Path) -> None:
    objects = tmp_path / "data" / "objects"

    def kept() -> int:
        return sum(path.is_file() and path.stat().st_size > 0 for path in objects.glob("**/file/**/*"))

    with_picture = kept()
    gone = run(tmp_path, "delete", "ada")
    assert gone.exit_code == 0, gone.output
    assert 0 < kept() < with_picture  # the file in the message stays
    assert run(tmp_path, "delete", deleted_in(tmp_path), "--messages").exit_code == 0
    assert kept() == 0


def deleted_in(folder: Path) -> str:
    noted = CliRunner().invoke(
        main, ["--data", str(folder / "data"), "audit", "--act", "user.delete", "--json"], env={}
    )
    return str(json.loads(noted.output)[0]["subject"])
