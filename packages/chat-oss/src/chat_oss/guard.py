"""A store behind a circuit breaker, with a deadline for every operation, counted and timed."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterable, AsyncIterator, Sequence
from typing import Annotated

from attrs import frozen
from chat_common.clock import Clock
from chat_common.errors import Unavailable
from chat_common.ports.objects import Link, ObjectInfo, ObjectMount, ObjectStore, ObjectTelemetry, Part
from chat_common.settings import setting
from msgspec import Meta

from chat_oss.breaker import Breaker, BreakerSettings
from chat_oss.counted import Counted
from chat_oss.telemetry import Silent

LARGE = 64 * 1024 * 1024


@frozen(kw_only=True)
class GuardSettings(BreakerSettings):
    deadline: Annotated[float, Meta(gt=0)] = setting(
        15.0, help="Seconds that an operation may take, or a stream between two of its chunks."
    )


class GuardedStore:
    """`ObjectStore` over another one. Only `Unavailable` counts as a failure of the store; links are never held up."""

    def __init__(
        self, store: ObjectStore, clock: Clock, settings: GuardSettings, telemetry: ObjectTelemetry | None = None
    ) -> None:
        self._store = store
        self._clock = clock
        self._deadline = settings.deadline
        self._telemetry = telemetry or Silent()
        self.breaker = Breaker(settings, clock)

    @contextlib.asynccontextmanager
    async def _guarded(self, operation: str, deadline: float | None) -> AsyncIterator[None]:
        trial = self.breaker.enter()
        began = self._clock.monotonic()
        outcome = "ok"
        try:
            async with asyncio.timeout(deadline):
                yield
        except (Unavailable, TimeoutError) as error:
            outcome = "unavailable"
            self.breaker.failed(trial)
            if isinstance(error, TimeoutError):
                raise Unavailable("The object store does not answer in time.") from error
            raise
        except (asyncio.CancelledError, GeneratorExit):
            outcome = "cancelled"
            self.breaker.gave_up(trial)
            raise
        except Exception:
            outcome = "refused"  # the store has answered
            self.breaker.succeeded(trial)
            raise
        else:
            self.breaker.succeeded(trial)
        finally:
            self._telemetry.operation(operation, outcome, self._clock.monotonic() - began)
            self._telemetry.dead(self.breaker.state != "closed")

    # --- contents

    async def put(
        self, key: str, data: bytes | AsyncIterable[bytes], *, type: str = "application/octet-stream"
    ) -> ObjectInfo:
        async with self._guarded("put", self._deadline if isinstance(data, bytes) else None):
            info = await self._store.put(key, data, type=type)
        self._telemetry.moved("in", info.size)
        return info

    @contextlib.asynccontextmanager
    async def get(self, key: str, *, start: int = 0, length: int | None = None) -> AsyncIterator[AsyncIterator[bytes]]:
        async with contextlib.AsyncExitStack() as stack:
            async with self._guarded("get", self._deadline):
                chunks = await stack.enter_async_context(self._store.get(key, start=start, length=length))
            yield self._counted(chunks)

    async def _counted(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        while True:
            async with self._guarded("read", self._deadline):
                chunk = await anext(chunks, None)
            if chunk is None:
                return
            self._telemetry.moved("out", len(chunk))
            yield chunk

    async def stat(self, key: str) -> ObjectInfo:
        async with self._guarded("stat", self._deadline):
            return await self._store.stat(key)

    async def copy(self, source: str, target: str, *, type: str | None = None, size: int | None = None) -> None:
        # As with parts: gigabytes take their time.
        async with self._guarded("copy", None if size is None or size > LARGE else self._deadline):
            await self._store.copy(source, target, type=type, size=size)

    async def delete(self, keys: Sequence[str]) -> None:
        async with self._guarded("delete", self._deadline):
            await self._store.delete(keys)

    async def list(self, prefix: str = "") -> AsyncIterator[ObjectInfo]:
        found = self._store.list(prefix)
        while True:
            async with self._guarded("list", self._deadline):
                info = await anext(found, None)
            if info is None:
                return
            yield info

    async def free(self) -> int | None:
        return await self._store.free()

    async def ready(self) -> None:
        async with self._guarded("ready", self._deadline):
            await self._store.ready()

    async def prepare(self, *, origins: Sequence[str] = ()) -> Sequence[str]:
        return await self._store.prepare(origins=origins)

    # --- links

    def upload_link(self, key: str, *, size: int, type: str, seconds: int) -> Link:
        return self._store.upload_link(key, size=size, type=type, seconds=seconds)

    def download_link(
        self,
        key: str,
        *,
        seconds: int,
        name: str | None = None,
        type: str | None = None,
        inline: bool = False,
        utf8: bool = False,
    ) -> Link:
        return self._store.download_link(key, seconds=seconds, name=name, type=type, inline=inline, utf8=utf8)

    @property
    def origin(self) -> str | None:
        return self._store.origin

    @property
    def mount(self) -> ObjectMount | None:
        mount = self._store.mount
        return mount and ObjectMount(mount.path, Counted(mount.app, self._clock, self._telemetry))

    # --- parts

    async def begin_parts(self, key: str, *, type: str) -> str:
        async with self._guarded("begin_parts", self._deadline):
            return await self._store.begin_parts(key, type=type)

    def part_link(self, key: str, upload: str, number: int, *, size: int, seconds: int) -> Link:
        return self._store.part_link(key, upload, number, size=size, seconds=seconds)

    async def parts(self, key: str, upload: str) -> Sequence[Part]:
        async with self._guarded("parts", self._deadline):
            return await self._store.parts(key, upload)

    async def complete_parts(self, key: str, upload: str, parts: Sequence[Part]) -> ObjectInfo:
        # A folder joins gigabytes here: no deadline but the store's own.
        async with self._guarded("complete_parts", None):
            return await self._store.complete_parts(key, upload, parts)

    async def abort_parts(self, key: str) -> None:
        async with self._guarded("abort_parts", self._deadline):
            await self._store.abort_parts(key)
