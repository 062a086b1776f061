"""The proxy of the fault tests does what it says, else they prove nothing."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.faults_proxy import FaultsProxy


@pytest.fixture
async def proxy() -> AsyncIterator[FaultsProxy]:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    async with FaultsProxy(server.sockets[0].getsockname()) as proxy:
        yield proxy
    server.close()


async def ask(proxy: FaultsProxy, data: bytes = b"hello") -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    writer.write(data)
    answer = await reader.readexactly(len(data))
    writer.close()
    return answer


async def test_passes_everything(proxy: FaultsProxy) -> None:
    assert await ask(proxy, b"x" * 1_000_000) == b"x" * 1_000_000


async def test_latency_is_added_each_way(proxy: FaultsProxy) -> None:
    proxy.latency = 0.1
    began = asyncio.get_running_loop().time()
    await ask(proxy)
    assert asyncio.get_running_loop().time() - began >= 0.2


async def test_rate_is_a_bottleneck(proxy: FaultsProxy) -> None:
    proxy.rate = 100_000
    began = asyncio.get_running_loop().time()
    await ask(proxy, b"x" * 30_000)
    assert asyncio.get_running_loop().time() - began >= 0.3


async def test_a_black_hole_swallows_and_does_not_give_back(proxy: FaultsProxy) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    writer.write(b"a")
    assert await reader.readexactly(1) == b"a"
    proxy.black_hole = True
    writer.write(b"b")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(reader.readexactly(1), 0.2)
    proxy.black_hole = False
    writer.write(b"c")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(reader.readexactly(1), 0.2)
    assert await ask(proxy) == b"hello"
    writer.close()


async def test_swallow_takes_only_what_is_open(proxy: FaultsProxy) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    writer.write(b"a")
    await reader.readexactly(1)
    proxy.swallow()
    writer.write(b"b")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(reader.readexactly(1), 0.2)
    assert await ask(proxy) == b"hello"
    writer.close()


async def test_reset_ends_what_is_open(proxy: FaultsProxy) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    writer.write(b"a")
    await reader.readexactly(1)
    proxy.reset()
    with pytest.raises(ConnectionError):
        await reader.read(1)
    assert (proxy.cut, await ask(proxy)) == (1, b"hello")


async def test_down_refuses_and_up_accepts_on_the_same_port(proxy: FaultsProxy) -> None:
    port = proxy.port
    await proxy.down()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)
    await proxy.up()
    assert (proxy.port, await ask(proxy)) == (port, b"hello")


async def test_arrival_waits_for_a_new_connection(proxy: FaultsProxy) -> None:
    await ask(proxy)
    before = proxy.accepted
    waiting = asyncio.create_task(proxy.arrival(before))
    proxy.reset()
    await asyncio.sleep(0)
    assert not waiting.done()
    await ask(proxy)
    await asyncio.wait_for(waiting, 5)
