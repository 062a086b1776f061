from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import Sequence
from pathlib import Path

import httpx2
import pytest
from chat_common.clock import ManualClock
from chat_common.ports.files import Finished
from chat_oss.folder import Folder
from chat_oss.local import LocalObjectStore
from chat_oss.memory import MemoryFileRecords
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.chat_oss.flow import ROOM, check_send, may_read
from tests.chat_oss.random_uploads import World

SEEN: set[str] = set()


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_store_and_table_agree_whatever_happens(seed: int) -> None:
    asyncio.run(_run(seed))


async def _run(seed: int, kind: type[MemoryFileRecords] = MemoryFileRecords) -> None:
    clock = ManualClock()
    with tempfile.TemporaryDirectory() as name:
        place = Folder(Path(name))
        place.prepare(stale_before=0)
        store = LocalObjectStore(place, b"k" * 32, clock, public_url="http://store", threads=2)
        records = kind(check_send, may_read)

        async def send(user: str, type: str, file: str) -> None:
            records.send(user, file)

        async def recall(file: str) -> None:
            records.recall(file)

        web = httpx2.AsyncClient(transport=httpx2.ASGITransport(store.mount.app), timeout=30)
        async with contextlib.aclosing(store), web:
            world = World(clock, store, records, web, ("ada", "bob"), ROOM, send, recall)
            SEEN.update(await world.run(seed, 40))
        leftovers = [path for path in (place.root / "parts").rglob("*") if path.is_file()]
        assert leftovers == [], world.log


def test_the_runs_reached_every_kind_of_step_and_crash() -> None:
    """Else the test above would say less than it seems to."""
    assert {"begin", "put", "finish", "send", "recall", "cancel", "sweep"} <= SEEN
    assert {"crash in begin", "crash in finish", "crash in sweep"} <= SEEN


class _ForgetsStagings(MemoryFileRecords):
    """Forgets what clients may write to as soon as the upload is finished."""

    async def finish(self, done: Finished, digest: str | None, now: int) -> str:
        kept = await super().finish(done, digest, now)
        await self.forget_stagings([f"upload/{done.file}"])
        return kept


class _DropsUsedContents(MemoryFileRecords):
    """Takes a content for unused as soon as one of its files is recalled."""

    def recall(self, file: str) -> None:
        gone = next((one for one in self.uploads() if one.file == file), None)
        super().recall(file)
        if gone is not None and gone.content is not None:
            self._contents[gone.content].doomed = True


class _ForgetsBeforeDeleting(MemoryFileRecords):
    """Drops a content's row in the step that dooms it: a crash then leaves its objects to nobody."""

    async def doom(self, now: int, limit: int) -> Sequence[str]:
        found = await super().doom(now, limit)
        await super().forget(found)
        return found


@pytest.mark.parametrize("defect", [_ForgetsStagings, _DropsUsedContents, _ForgetsBeforeDeleting])
def test_planted_defects_are_found(defect: type[MemoryFileRecords]) -> None:
    for seed in range(200):
        try:
            asyncio.run(_run(seed, defect))
        except AssertionError:
            return
    raise AssertionError(f"{defect.__name__} was not found in 200 runs")
