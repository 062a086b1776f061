"""Room for files, as members, operators and monitoring see it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from chat_server.cli import main
from click.testing import CliRunner

from tests.chat_server.files.test_files import open_house

FLOOR = 10**18
"""More than any disk has."""


def settings(folder: Path, **sections: Any) -> dict[str, Any]:
    return {"server": {"data": str(folder), **sections.pop("server", {})}, "http": {"metrics": "open"}, **sections}


async def test_a_full_disk_refuses_uploads_and_takes_texts(tmp_path: Path) -> None:
    async with open_house(settings(tmp_path, **{"object_store.local": {"min_free": FLOOR}})) as house:
        begin = {"conversation": house.room, "name": "a", "type": "text/plain", "size": 1}
        assert (await house.refused(house.ada, "upload.begin", **begin))[0] == "unavailable"
        await house.submit(house.ada, "text", text="still here")
        await house.sweep()
        assert "chat_objects_free_bytes 0.0" in (await house.web.get("/metrics")).text
        assert (await house.web.get("/readyz")).status_code == 200


async def test_a_disk_on_which_the_database_has_no_room_is_not_ready(tmp_path: Path) -> None:
    async with open_house(settings(tmp_path, server={"min_free": FLOOR})) as house:
        answer = await house.web.get("/readyz")
        assert answer.status_code == 503
        parts = answer.json()["parts"]
        assert parts["disk"].startswith("The disk of the data folder is full: ")
        assert {parts["database"], parts["broker"]} == {"ok"}
    async with open_house(settings(tmp_path)) as house:
        assert (await house.web.get("/readyz")).json()["parts"]["disk"] == "ok"


async def test_what_is_kept_is_told_by_check_and_by_a_metric(tmp_path: Path) -> None:
    async with open_house(settings(tmp_path)) as house:
        await house.upload(house.ada, b"x" * 77, "text/plain")
        await house.sweep()
        text = (await house.web.get("/metrics")).text
        assert "chat_files_kept_bytes 77.0" in text
        assert "chat_objects_free_bytes" in text


def test_check_says_how_much_is_kept(tmp_path: Path) -> None:
    empty = CliRunner().invoke(main, ["--data", str(tmp_path), "check"])
    assert (empty.exit_code, "files: none yet" in empty.output) == (0, True), empty.output


async def _kept(folder: Path) -> None:
    async with open_house(settings(folder)) as house:
        await house.upload(house.ada, b"x" * 77, "text/plain")


def test_check_counts_what_is_there(tmp_path: Path) -> None:
    import asyncio

    asyncio.run(_kept(tmp_path))
    found = CliRunner().invoke(main, ["--data", str(tmp_path), "check"])
    assert (found.exit_code, "files: 77 bytes kept, room for " in found.output) == (0, True), found.output
    full = CliRunner().invoke(
        main, ["--data", str(tmp_path), "check"], env={"CHAT__OBJECT_STORE__LOCAL__MIN_FREE": str(FLOOR)}
    )
    assert full.exit_code == 1
    assert "no room for 1 bytes" in full.output
