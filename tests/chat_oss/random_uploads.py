"""Random uploads with crashes at any step; in the end store and table must agree.

A crash is an exception that nobody catches, thrown before or after one of the operations that the service does with
its store or its table: what the operation did stays, whatever would have followed does not happen.
"""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx2
from attrs import define, field
from chat_common.clock import ManualClock
from chat_common.errors import ChatError
from chat_common.ports.database import Database
from chat_common.ports.files import (
    AskLinks,
    BeginUpload,
    CancelUpload,
    FileRights,
    Files,
    FinishUpload,
    UploadBegun,
    UploadParts,
    UploadRequest,
)
from chat_common.ports.objects import PART_MIN, ObjectStore
from chat_oss import tables
from chat_oss.files import FilesSettings, open_files
from chat_oss.leftovers import Leftovers
from chat_oss.uploads import Uploads
from sqlalchemy import Connection, case, func, select

from tests.chat_oss import pictures

SETTINGS = FilesSettings(parts_above=PART_MIN, part_bytes=PART_MIN, daily_files=10_000, picture_processes=1)
CONTENTS: tuple[tuple[str, bytes], ...] = (
    *[("text/plain", b"one")] * 3,
    ("text/plain", b"two"),
    ("image/png", pictures.png(40, 30)),
    ("application/octet-stream", bytes(PART_MIN) + b"tail"),
)


STEPS = ("begin", "put", "finish", "whole", "recall", "sweep") * 2 + ("whole", "send", "cancel", "wait")
MEDDLED = (b"one", b"two", b"bad")


class Crash(BaseException):
    """The process ended here."""


@define
class Fuse:
    """Blows after so many operations; None: never."""

    left: int | None = None

    def burn(self) -> None:
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                raise Crash


Meddle = Callable[[], Awaitable[None]]


class Crashing:
    """Anything, with a fuse before and after each of its asynchronous operations, and somebody who meddles with what
    is being uploaded at every look that the service takes at a store."""

    def __init__(self, inner: Any, fuse: Fuse, meddle: Meddle | None = None) -> None:
        self._inner, self._fuse, self._meddle = inner, fuse, meddle

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if name == "get":
            return self._get
        if not inspect.iscoroutinefunction(found):
            return found

        async def burning(*arguments: Any, **named: Any) -> Any:
            self._fuse.burn()
            result = await found(*arguments, **named)
            if self._meddle is not None:
                await self._meddle()
            self._fuse.burn()
            return result

        return burning

    @contextlib.asynccontextmanager
    async def _get(self, key: str, **named: Any) -> AsyncIterator[AsyncIterator[bytes]]:
        self._fuse.burn()
        async with self._inner.get(key, **named) as chunks:
            yield chunks
        if self._meddle is not None:
            await self._meddle()


@define
class Begun:
    user: str
    answer: UploadBegun
    type: str
    data: bytes
    stage: str = "begin"
    checked: bool = False
    meddled: bool = False
    """Whether its checksum was told, and whether something else than ``data`` may have been written to its link."""


BEFORE = {"put": "begin", "finish": "put", "send": "finish", "cancel": "finish"}
"""Where an upload usually stands before a step; now and then any other is taken."""


@define
class World:
    """What a run needs. ``send(user, type, file)`` publishes a file, ``recall(file)`` takes it back."""

    clock: ManualClock
    store: ObjectStore
    database: Database
    rights: FileRights
    web: httpx2.AsyncClient
    users: tuple[str, ...]
    conversation: str
    send: Callable[[str, str, str], Awaitable[None]]
    recall: Callable[[str], Awaitable[None]]
    log: list[str] = field(factory=list)
    seen: dict[str, bytes] = field(factory=dict)

    async def run(self, seed: int, steps: int) -> set[str]:
        """Do ``steps`` random things, then check; the kinds of step that were done, for who counts them."""
        dice = random.Random(seed)
        fuse = Fuse()
        begun: dict[str, Begun] = {}

        async def meddle() -> None:
            if dice.random() < 0.5:
                await self._meddle(dice, begun)

        store: Any = Crashing(self.store, fuse, meddle)
        database: Any = Crashing(self.database, fuse)
        sent: dict[str, Begun] = {}
        done: set[str] = set()
        async with open_files(store, database, self.rights, self.clock, SETTINGS) as files:
            for _ in range(steps):
                name = dice.choice(STEPS)
                fuse.left = dice.randrange(12 if name == "sweep" else 25) if dice.random() < 0.3 else None
                try:
                    await self._step(name, dice, files, begun, sent)
                    done.add(name)
                except ChatError as error:
                    self.log.append(f"{name}: {error.code}")
                except Crash:
                    self.log.append(f"{name}: crash")
                    done.add(f"crash in {name}")
                fuse.left = None
                await self._sent_files_are_whole(files, sent)
            await self._settle(files, sent)
        return done

    async def _step(
        self, name: str, dice: random.Random, files: Files, begun: dict[str, Begun], sent: dict[str, Begun]
    ) -> None:
        if name == "begin":
            type, data = dice.choice(CONTENTS)
            user = self.users[dice.random() < 0.2]
            checked = dice.random() < 0.5
            request = BeginUpload(
                conversation=self.conversation,
                name="a",
                type=type,
                size=len(data),
                sha256=hashlib.sha256(data).hexdigest() if checked else None,
            )
            answer = await files.begin(user, request)
            begun[answer.file] = Begun(user, answer, type, data, checked=checked)
        elif name == "whole":
            await self._step("begin", dice, files, begun, sent)
            file = list(begun)[-1]
            only = {file: begun[file]}
            for step in ("put", "finish", "send"):
                await self._step(step, dice, files, only, sent)
        elif name == "sweep":
            await files.sweep()
        elif name == "wait":
            self.clock.advance(dice.choice((60, 1800, 3700, 90_000)))
        elif name == "recall" and sent:
            file = dice.choice(sorted(sent))
            del sent[file]
            await self.recall(file)
        elif name in ("put", "finish", "send", "cancel") and begun:
            fitting = [file for file in sorted(begun) if begun[file].stage == BEFORE[name]]
            file = dice.choice(fitting if fitting and dice.random() < 0.8 else sorted(begun))
            one = begun[file]
            if name == "put":
                await self._put(dice, files, one)
            elif name == "finish":
                await files.finish(one.user, f"ref-{file}-{dice.randrange(2)}", FinishUpload(file=file))
            elif name == "send":
                await self.send(one.user, one.type, file)
                sent[file] = one
            else:
                await files.cancel(one.user, CancelUpload(file=file))
            one.stage = name

    async def _put(self, dice: random.Random, files: Files, one: Begun) -> None:
        if isinstance(one.answer.put, UploadRequest):
            await self._request(one.answer.put, one.data)
            return
        numbers = [number for number in (1, 2) if dice.random() < 0.9]
        links = await files.parts(one.user, UploadParts(file=one.answer.file, numbers=numbers))
        for link in links.links:
            start = (link.number - 1) * PART_MIN
            await self._request(link.put, one.data[start : start + link.size])

    async def _meddle(self, dice: random.Random, begun: dict[str, Begun]) -> None:
        """Write something else of the same size to the link of an upload, finished or not."""
        texts = [one for one in begun.values() if one.type == "text/plain"]
        put = [one for one in texts if one.stage == "put"]
        if texts:
            one = dice.choice(put if put and dice.random() < 0.8 else texts)
            assert isinstance(one.answer.put, UploadRequest)
            if one.stage in ("begin", "put"):
                one.meddled = True
            await self._request(one.answer.put, dice.choice(MEDDLED))

    async def _request(self, request: UploadRequest, data: bytes) -> None:
        answer = await self.web.request(request.method, request.url, headers=request.headers, content=data)
        self.log.append(f"put: {answer.status_code}")

    async def _sent_files_are_whole(self, files: Files, sent: dict[str, Begun]) -> None:
        for at in range(0, len(sent), 50):
            asked = sorted(sent)[at : at + 50]
            linked = (await files.links(self.users[0], AskLinks(files=asked))).files
            assert [one.file for one in linked] == asked
            for one in linked:
                answer = await self.web.get(one.url)
                assert answer.status_code == 200, (one, self.log)
                if one.type != "image/png":
                    before = self.seen.setdefault(one.file, answer.content)
                    assert answer.content == before, "a content has changed"
                    expected = sent[one.file]
                    if expected.checked or not expected.meddled:
                        assert before == expected.data, "not what was uploaded"
                else:
                    assert isinstance(one.small, str)
                    assert (await self.web.get(one.small)).status_code == 200

    async def _settle(self, files: Files, sent: dict[str, Begun]) -> None:
        """After everything is over: what messages need is there, nothing else is."""
        for _ in range(3):
            self.clock.advance(100_000)
            await files.sweep()
        await self._sent_files_are_whole(files, sent)
        uploads, leftovers = Uploads(self.database, self.rights), Leftovers(self.database)
        used = {upload.content for upload in await uploads.readable(self.users[0], sorted(sent))}
        keys = [info.key async for info in self.store.list()]
        assert {key.split("/")[1] for key in keys} == used, self.log
        assert all(key.startswith("file/") for key in keys)
        assert await leftovers.stagings(self.clock.wall_ms(), 10) == []
        assert await leftovers.mark_unused(self.clock.wall_ms(), 10) == []
        await self.store.delete([])
        counted, there = await self.database.read(_kept)
        assert counted == there, self.log


def _kept(connection: Connection) -> tuple[dict[str, int], dict[str, int]]:
    """What each user keeps, as it is counted and as it is."""
    size = case((tables.file.c.state == "begun", tables.file.c.size), else_=tables.file.c.stored_size)
    there = select(tables.file.c.user, func.sum(size)).group_by(tables.file.c.user)
    counted = select(tables.usage).where(tables.usage.c.bytes != 0)
    return {row[0]: row[1] for row in connection.execute(counted)}, {
        row[0]: row[1] for row in connection.execute(there)
    }
