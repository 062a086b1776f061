"""What people have said is read by the server alone: file modes of all that it writes, and of all that was there."""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from chat_common.settings import SetupError
from chat_server.server import Server
from chat_server.store.backup import backup, restore
from structlog.testing import capture_logs

from tests.chat_server.files.test_files import open_house


@pytest.fixture(autouse=True)
def _careless() -> Iterator[None]:
    """As most machines are set: new files are readable by everybody."""
    before = os.umask(0o022)
    yield
    os.umask(before)


def open_to_others(folder: Path) -> list[str]:
    found = [folder, *folder.rglob("*")]
    return [str(path.relative_to(folder)) for path in found if stat.S_IMODE(path.lstat().st_mode) & 0o077]


async def used(folder: Path) -> None:
    """A server that has said something and keeps a file, and half of another one."""
    settings = {"server": {"data": str(folder)}, "files.oss": {"parts_above": 5 * 1024 * 1024}}
    async with open_house(settings) as house:
        file = await house.upload(house.ada, b"kept", "text/plain")
        await house.submit(house.ada, "file", file=file.file)
        video = {"conversation": house.room, "name": "a", "type": "video/mp4", "size": 6 * 1024 * 1024}
        begun = await house.call(house.ada, "upload.begin", **video)
        [link] = (await house.call(house.ada, "upload.parts", file=begun.file, numbers=[1])).links
        put = await house.web.request("PUT", link.put.url, content=bytes(link.size))
        assert put.status_code == 200
        assert open_to_others(folder) == []  # with the write-ahead log and its index


async def test_everything_is_private_from_the_first_start_on(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    with capture_logs() as logs:
        await used(folder)
    assert open_to_others(folder) == []
    assert [entry for entry in logs if "others" in entry["event"]] == []
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "chat.db").stat().st_mode) == 0o600


async def test_what_is_there_already_is_mended_and_that_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "data"
    await used(folder)
    backup(folder / "chat.db", folder / "monday.backup")
    (folder / "notes.sh").write_text("somebody else's")
    (folder / "objects" / "private").unlink()  # as an older version leaves it
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    for number in range(2):
        caplog.clear()
        with capture_logs() as logs:
            async with Server(settings={"server": {"data": str(folder)}}, environ={}) as server:
                await server.ensure_user("ada")
                await used_store(server)
        told = [entry["paths"] for entry in logs if entry["event"] == "closed_to_others"]
        if number == 0:
            mended = [Path(path).name for paths in told for path in paths]
            assert {"data", "chat.db", "chat.lock", "monday.backup"} <= set(mended)
            assert len(mended) == len(set(mended)), "each is named once"
            assert "were open to others of this machine" in caplog.text
        else:
            assert told == []
            assert "open to others" not in caplog.text
        assert open_to_others(folder) == ["notes.sh"]


async def used_store(server: Server) -> None:
    """The store of files is opened when somebody asks for it."""
    from chat_common.ports.objects import ObjectStore

    await server.assembly.get(ObjectStore)  # type: ignore[type-abstract]


async def test_backups_and_what_restoring_leaves_are_private(tmp_path: Path) -> None:
    folder, copy = tmp_path / "data", tmp_path / "copy"
    await used(folder)
    backup(folder / "chat.db", copy)
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    with closing(sqlite3.connect(copy)) as connection:
        assert connection.execute("SELECT count(*) FROM chat_message").fetchone() == (1,)
    copy.chmod(0o644)
    (folder / "chat.db").chmod(0o644)
    restore(copy, folder / "chat.db")
    assert open_to_others(folder) == []
    assert len(list(folder.glob("chat.db.replaced-*"))) >= 1


async def test_a_restore_that_fails_leaves_no_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, copy = tmp_path / "data", tmp_path / "copy"
    await used(folder)
    backup(folder / "chat.db", copy)
    seen: list[int] = []

    def fails(connection: object) -> str:
        seen.append(stat.S_IMODE((folder / ".chat.db.restoring").stat().st_mode))
        raise SetupError("no")

    monkeypatch.setattr("chat_server.store.epoch.renew", fails)
    before = sorted(path.name for path in folder.iterdir())
    with pytest.raises(SetupError):
        restore(copy, folder / "chat.db")
    assert seen == [0o600]
    assert sorted(path.name for path in folder.iterdir()) == before
