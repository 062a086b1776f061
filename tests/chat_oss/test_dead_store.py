"""A real MinIO that is killed, and one that falls silent, in the middle of uploads."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx2
import pytest
from attrs import define, evolve
from chat_common.clock import SystemClock
from chat_common.errors import NotFound, Unavailable
from chat_common.ports.files import AskLinks, UploadParts, UploadRequest
from chat_oss.files import FilesSettings
from chat_oss.guard import GuardedStore
from chat_oss.s3 import open_minio
from chat_oss.telemetry import Silent

from tests.chat_oss import pictures
from tests.chat_oss.flow import Flow, service
from tests.faults_proxy import FaultsProxy
from tests.services.minio import READY, running_minio
from tests.services.s3 import S3Server

MIB = 1024 * 1024
PARTED = FilesSettings(parts_above=5 * MIB, part_bytes=5 * MIB)


@pytest.fixture(scope="module")
def minio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with running_minio(tmp_path_factory.mktemp("minio")) as server:
        yield server


@define
class Wire:
    """The files' way to the store leads through a proxy; the clients' way does not."""

    flow: Flow
    proxy: FaultsProxy
    guard: GuardedStore


@contextlib.asynccontextmanager
async def wired(server: S3Server) -> AsyncIterator[Wire]:
    clock = SystemClock()
    async with FaultsProxy(("127.0.0.1", server.port)) as proxy:
        settings = evolve(
            server.settings(f"chat-{secrets.token_hex(4)}", endpoint=f"http://127.0.0.1:{proxy.port}"),
            public_endpoint=server.endpoint,
            connect_timeout=0.3,
            read_timeout=0.5,
            deadline=2.0,
            failures=2,
            pause=0.2,
        )
        async with open_minio(settings, clock) as store, httpx2.AsyncClient(timeout=30) as web:
            await store.prepare()
            guard = GuardedStore(store, clock, settings)
            async with service(clock, guard, web, PARTED) as flow:
                yield Wire(flow, proxy, guard)


async def recovered(flow: Flow, file: str, ref: str) -> None:
    """Repeats a finish as a client does, until the store is back."""
    async with asyncio.timeout(20):
        while True:
            try:
                await flow.finish(file, ref=ref)
                return
            except Unavailable as error:
                await asyncio.sleep(error.retry_after or 0.1)


async def nothing_visible(flow: Flow, file: str) -> None:
    assert (await flow.files.links("bob", AskLinks(files=[file]))).files == []
    with pytest.raises(NotFound):
        await flow.application.send("ada", file)


async def test_killed_between_upload_and_finish(minio: S3Server) -> None:
    async with wired(minio) as wire:
        flow = wire.flow
        data = pictures.jpeg(1500, 1000)
        begun = await flow.begin(data, "image/jpeg")
        assert isinstance(begun.put, UploadRequest)
        assert (await flow.put(begun.put, data)).status_code == 200
        minio.kill()
        with pytest.raises(Unavailable):
            await flow.finish(begun.file, ref="r")
        await nothing_visible(flow, begun.file)
        minio.start(READY)
        await recovered(flow, begun.file, "r")
        await flow.application.send("ada", begun.file)
        for url in (await flow.urls(begun.file)).values():
            assert (await flow.web.get(url)).status_code == 200


async def test_killed_in_the_middle_of_an_upload(minio: S3Server) -> None:
    async with wired(minio) as wire:
        flow = wire.flow
        data = secrets.token_bytes(4 * MIB)
        begun = await flow.begin(data, "application/octet-stream")
        assert isinstance(begun.put, UploadRequest)

        async def half_then_dead() -> AsyncIterator[bytes]:
            yield data[: 2 * MIB]
            minio.kill()
            yield data[2 * MIB :]

        with contextlib.suppress(httpx2.HTTPError):
            headers = {**begun.put.headers, "Content-Length": str(len(data))}
            await flow.web.put(begun.put.url, headers=headers, content=half_then_dead())
        minio.start(READY)
        await nothing_visible(flow, begun.file)
        assert await flow.keys() == []
        assert (await flow.put(begun.put, data)).status_code == 200
        await recovered(flow, begun.file, "r")


async def test_killed_with_half_of_the_parts(minio: S3Server) -> None:
    async with wired(minio) as wire:
        flow = wire.flow
        data = secrets.token_bytes(7 * MIB)
        begun = await flow.begin(data, "application/octet-stream")
        asked = await flow.files.parts("ada", UploadParts(file=begun.file, numbers=[1, 2]))
        assert (await flow.put(asked.links[0].put, data[: 5 * MIB])).status_code == 200
        minio.kill()
        minio.start(READY)
        async with asyncio.timeout(20):
            while True:
                with contextlib.suppress(Unavailable):
                    left = await flow.files.parts("ada", UploadParts(file=begun.file, numbers=[2]))
                    break
                await asyncio.sleep(0.1)
        assert left.have == [1]
        assert (await flow.put(left.links[0].put, data[5 * MIB :])).status_code == 200
        await recovered(flow, begun.file, "r")
        await flow.application.send("ada", begun.file)
        assert (await flow.web.get((await flow.urls(begun.file))["original"])).content == data


async def test_silent_in_the_middle_of_a_finish(minio: S3Server) -> None:
    """At each of the steps that a finish takes with the store."""
    async with wired(minio) as wire:
        flow, proxy = wire.flow, wire.proxy
        data = pictures.jpeg(1500, 1000)
        steps = kept = 0
        while True:
            begun = await flow.begin(data, "image/jpeg")
            assert isinstance(begun.put, UploadRequest)
            await flow.put(begun.put, data)
            finishing = asyncio.create_task(flow.finish(begun.file, ref=f"r{steps}"))
            silent_at = await after_operations(wire, steps, finishing)
            if not silent_at:
                await finishing
                break
            proxy.black_hole = True
            proxy.swallow()
            try:
                await finishing
                kept += 1  # silent only when the upload's own key was cleared away: the file is made
            except Unavailable:
                await nothing_visible(flow, begun.file)
            proxy.black_hole = False
            await recovered(flow, begun.file, f"r{steps}")
            await flow.application.send("ada", begun.file)
            for url in (await flow.urls(begun.file)).values():
                assert (await flow.web.get(url)).status_code == 200
            steps += 1
        assert steps >= 5  # before and after get, read, and the puts
        assert kept <= 1


async def after_operations(wire: Wire, number: int, finishing: asyncio.Task[object]) -> bool:
    """Waits until the store has seen ``number`` operations of this finish; false when it was over before."""
    seen: list[str] = []
    more = asyncio.Event()

    class Listening(Silent):
        def operation(self, name: str, outcome: str, seconds: float) -> None:
            seen.append(name)
            more.set()

    before = wire.guard._telemetry
    wire.guard._telemetry = Listening()
    try:
        while len(seen) < number and not finishing.done():
            waiting = asyncio.ensure_future(more.wait())
            await asyncio.wait([waiting, finishing], return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()
            more.clear()
    finally:
        wire.guard._telemetry = before
    return not finishing.done()


async def test_a_dead_store_is_refused_at_once(minio: S3Server) -> None:
    async with wired(minio) as wire:
        wire.proxy.black_hole = True
        for _ in range(2):
            with pytest.raises(Unavailable):
                await wire.guard.stat("a")
        assert wire.guard.breaker.state == "open"
        asked = wire.proxy.accepted
        with pytest.raises(Unavailable) as caught:
            await wire.guard.stat("a")
        assert caught.value.retry_after
        assert wire.proxy.accepted == asked  # Refused without a request.
        wire.proxy.black_hole = False
        async with asyncio.timeout(20):
            while wire.guard.breaker.state != "closed":
                with contextlib.suppress(Unavailable, NotFound):
                    await wire.guard.stat("a")
                await asyncio.sleep(0.05)


async def test_the_sweep_goes_on_when_the_store_is_back(minio: S3Server, tmp_path: Path) -> None:
    async with wired(minio) as wire:
        flow = wire.flow
        facts = await flow.send(b"to be recalled", "text/plain")
        await flow.application.recall(facts.file)
        wire.proxy.black_hole = True
        wire.proxy.swallow()
        with pytest.raises(Unavailable):
            await flow.files.sweep()
        wire.proxy.black_hole = False
        async with asyncio.timeout(20):
            while True:
                with contextlib.suppress(Unavailable):
                    await flow.files.sweep()
                    break
                await asyncio.sleep(0.1)
        assert [key for key in await flow.keys() if key.startswith("file/")] == []
