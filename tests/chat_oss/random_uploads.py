"""Random uploads with crashes at any step; in the end store and table must agree.

A crash is an exception that nobody catches, thrown before or after one of the operations that the service does with
its store or its table: what the operation did stays, whatever would have followed does not happen.
"""

from __future__ import annotations

import contextlib
import inspect
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx2
from attrs import define, field
from chat_common.clock import ManualClock
from chat_common.errors import ChatError
from chat_common.ports.files import (
    AskLinks,
    BeginUpload,
    CancelUpload,
    FileRecords,
    Files,
    FinishUpload,
    UploadBegun,
    UploadParts,
    UploadRequest,
)
from chat_common.ports.objects import PART_MIN, ObjectStore
from chat_oss.files import FilesSettings, open_files

from tests.chat_oss import pictures

SETTINGS = FilesSettings(parts_above=PART_MIN, part_bytes=PART_MIN, daily_files=10_000, picture_threads=1)
CONTENTS: tuple[tuple[str, bytes], ...] = (
    ("text/plain", b"one"),
    ("text/plain", b"two"),
    ("image/png", pictures.png(40, 30)),
    ("application/octet-stream", bytes(PART_MIN) + b"tail"),
)


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


class Crashing:
    """Anything, with a fuse before and after each of its asynchronous operations."""

    def __init__(self, inner: Any, fuse: Fuse) -> None:
        self._inner, self._fuse = inner, fuse

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if name == "get":
            return self._get
        if not inspect.iscoroutinefunction(found):
            return found

        async def burning(*arguments: Any, **named: Any) -> Any:
            self._fuse.burn()
            result = await found(*arguments, **named)
            self._fuse.burn()
            return result

        return burning

    @contextlib.asynccontextmanager
    async def _get(self, key: str, **named: Any) -> AsyncIterator[AsyncIterator[bytes]]:
        self._fuse.burn()
        async with self._inner.get(key, **named) as chunks:
            yield chunks


@define
class Begun:
    user: str
    answer: UploadBegun
    type: str
    data: bytes
    stage: str = "begin"


BEFORE = {"put": "begin", "finish": "put", "send": "finish", "cancel": "finish"}
"""Where an upload usually stands before a step; now and then any other is taken."""


@define
class World:
    """What a run needs. ``send(user, type, file)`` publishes a file, ``recall(file)`` takes it back."""

    clock: ManualClock
    store: ObjectStore
    records: FileRecords
    web: httpx2.AsyncClient
    users: tuple[str, ...]
    conversation: str
    send: Callable[[str, str, str], Awaitable[None]]
    recall: Callable[[str], Awaitable[None]]
    log: list[str] = field(factory=list)

    async def run(self, seed: int, steps: int) -> set[str]:
        """Do ``steps`` random things, then check; the kinds of step that were done, for who counts them."""
        dice = random.Random(seed)
        fuse = Fuse()
        store: Any = Crashing(self.store, fuse)
        records: Any = Crashing(self.records, fuse)
        begun: dict[str, Begun] = {}
        sent: dict[str, Begun] = {}
        done: set[str] = set()
        async with open_files(store, records, self.clock, SETTINGS) as files:
            for _ in range(steps):
                name = dice.choice(
                    ("begin", "begin", "put", "put", "finish", "finish", "send", "recall", "cancel", "sweep", "wait")
                )
                fuse.left = dice.randrange(25) if dice.random() < 0.3 else None
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
            user = dice.choice(self.users)
            request = BeginUpload(conversation=self.conversation, name="a", type=type, size=len(data))
            answer = await files.begin(user, request)
            begun[answer.file] = Begun(user, answer, type, data)
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
                    assert answer.content == sent[one.file].data
                else:
                    assert isinstance(one.small, str)
                    assert (await self.web.get(one.small)).status_code == 200

    async def _settle(self, files: Files, sent: dict[str, Begun]) -> None:
        """After everything is over: what messages need is there, nothing else is."""
        for _ in range(3):
            self.clock.advance(100_000)
            await files.sweep()
        await self._sent_files_are_whole(files, sent)
        used = {upload.content for upload in await self.records.readable(self.users[0], sorted(sent))}
        keys = [info.key async for info in self.store.list()]
        assert {key.split("/")[1] for key in keys} == used, self.log
        assert all(key.startswith("file/") for key in keys)
        assert await self.records.stagings(self.clock.wall_ms(), 10) == []
        assert await self.records.doom(self.clock.wall_ms(), 10) == []
        await self.store.delete([])
