from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import httpx2
import pytest
from chat_common.clock import ManualClock
from chat_oss import uploads
from chat_oss.folder import Folder
from chat_oss.leftovers import Leftovers
from chat_oss.local import LocalObjectStore
from chat_oss.tables import content
from chat_oss.upload import Finished
from chat_oss.uploads import Uploads
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Row, update

from tests.chat_oss.application import ROOM, open_application
from tests.chat_oss.random_uploads import World

SEEN: set[str] = set()


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_store_and_table_agree_whatever_happens(seed: int) -> None:
    asyncio.run(_run(seed))


async def _run(seed: int) -> None:
    clock = ManualClock()
    with tempfile.TemporaryDirectory() as name:
        place = Folder(Path(name))
        place.prepare(stale_before=0)
        store = LocalObjectStore(place, b"k" * 32, clock, public_url="http://store", threads=2)
        web = httpx2.AsyncClient(transport=httpx2.ASGITransport(store.mount.app), timeout=30)
        async with contextlib.aclosing(store), web, open_application(place.root) as application:

            async def send(user: str, type: str, file: str) -> None:
                await application.send(user, file)

            database = application.database
            users = ("ada", "bob")
            world = World(clock, store, database, application, web, users, ROOM, send, application.recall)
            SEEN.update(await world.run(seed, 40))
        leftovers = [path for path in (place.root / "parts").rglob("*") if path.is_file()]
        assert leftovers == [], world.log


def test_the_runs_reached_every_kind_of_step_and_crash() -> None:
    """Else the test above would say less than it seems to."""
    assert {"begin", "put", "finish", "send", "recall", "cancel", "sweep"} <= SEEN
    assert {"crash in begin", "crash in finish", "crash in sweep"} <= SEEN


def _forgets_stagings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forgets what clients may write to as soon as the upload is finished."""
    finish = Uploads.finish

    async def forgetful(self: Uploads, done: Finished, digest: str | None, now: int) -> str:
        chosen = await finish(self, done, digest, now)
        await Leftovers(self._database).forget_stagings([f"upload/{done.file}"])
        return chosen

    monkeypatch.setattr(Uploads, "finish", forgetful)


def _marks_used_contents(monkeypatch: pytest.MonkeyPatch) -> None:
    """Takes a content for unused as soon as one of its files is dropped."""
    drop = uploads.drop

    def rash(connection: Connection, rows: Sequence[Row[Any]]) -> None:
        drop(connection, rows)
        names = [row.content for row in rows]
        connection.execute(update(content).where(content.c.content.in_(names)).values(unused=True))

    monkeypatch.setattr(uploads, "drop", rash)
    monkeypatch.setattr("chat_oss.leftovers.drop", rash)


def _forgets_before_deleting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drops a content's row in the step that marks it: a crash then leaves its objects to nobody."""
    mark = Leftovers.mark_unused

    async def rash(self: Leftovers, now: int, limit: int) -> Sequence[str]:
        found = await mark(self, now, limit)
        await self.forget(found)
        return found

    monkeypatch.setattr(Leftovers, "mark_unused", rash)


@pytest.mark.parametrize("defect", [_forgets_stagings, _marks_used_contents, _forgets_before_deleting])
def test_planted_defects_are_found(
    defect: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    defect(monkeypatch)
    for seed in range(200):
        try:
            asyncio.run(_run(seed))
        except AssertionError:
            return
    raise AssertionError(f"{defect.__name__} was not found in 200 runs")
