"""A disk that fills up: uploads are refused before they fill it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from chat_common.errors import ChatError, Unavailable
from chat_common.ports.files import UploadParts, UploadRequest
from chat_common.ports.objects import PART_MIN
from chat_oss.disk import FULL_SECONDS
from chat_oss.files import FilesSettings
from chat_oss.folder import Folder
from chat_oss.local import LocalSettings, open_local

from tests.chat_oss.flow import Flow, local_flow

SETTINGS = FilesSettings(parts_above=PART_MIN, part_bytes=PART_MIN)


@pytest.fixture
async def flow(tmp_path: Path) -> AsyncIterator[Flow]:
    async with local_flow(tmp_path, SETTINGS) as flow:
        yield flow


def leave(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(Folder, "free", lambda self: size)


async def refused(doing: object) -> ChatError:
    with pytest.raises(Unavailable) as caught:
        await doing  # type: ignore[misc]
    assert caught.value.retry_after == FULL_SECONDS
    return caught.value


async def test_what_has_no_room_is_not_begun(flow: Flow, monkeypatch: pytest.MonkeyPatch) -> None:
    leave(monkeypatch, 10)
    await flow.begin(b"x" * 10, "text/plain")
    await refused(flow.begin(b"x" * 11, "text/plain"))
    assert len(await flow.application.rows()) == 1


async def test_what_was_begun_before_is_not_written(flow: Flow, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = await flow.begin(b"x" * 11, "text/plain")
    assert isinstance(begun.put, UploadRequest)
    leave(monkeypatch, 10)
    answer = await flow.put(begun.put, b"x" * 11)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "600")
    assert "no room for 11 bytes" in answer.text
    assert await flow.keys() == []
    monkeypatch.undo()
    assert (await flow.put(begun.put, b"x" * 11)).status_code == 200


async def test_parts_are_joined_only_where_there_is_room_for_both(flow: Flow, monkeypatch: pytest.MonkeyPatch) -> None:
    data = bytes(PART_MIN + 1)
    begun = await flow.begin(data, "application/octet-stream")
    for link in (await flow.files.parts("ada", UploadParts(file=begun.file, numbers=[1, 2]))).links:
        assert (await flow.put(link.put, bytes(link.size))).status_code == 200
    leave(monkeypatch, PART_MIN)
    await refused(flow.finish(begun.file))
    monkeypatch.undo()
    assert (await flow.finish(begun.file)).size == len(data)


async def test_a_floor_is_kept_free_and_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    leave(monkeypatch, 1500)
    settings = LocalSettings(path=str(tmp_path), min_free=1000)
    async with local_flow(tmp_path / "other") as flow, open_local(settings, flow.clock) as store:
        assert await store.free() == 500
        await store.ready()
        leave(monkeypatch, 1000)
        assert await store.free() == 0
        await refused(store.ready())
        leave(monkeypatch, 10)
        assert await store.free() == 0
        await flow.upload(b"x", "text/plain")
        room = await flow.files.room()
        assert (room.kept, room.total, room.free) == (1, 0, 10)


def test_the_folder_asks_its_disk(tmp_path: Path) -> None:
    assert Folder(tmp_path).free() > 0
