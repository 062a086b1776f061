from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from chat_common.errors import Unavailable
from chat_common.settings import SetupError
from chat_transaction.redis.connection import connect
from chat_transaction.redis.directory import RedisDirectory
from chat_transaction.settings import RedisDirectorySettings, RedisSettings
from redis.exceptions import RedisError

from tests.services.certificates import self_signed
from tests.services.redis import running_redis
from tests.services.sentinel import running_sentinel


@asynccontextmanager
async def over_tls(url: str, certificates: Path) -> AsyncIterator[str]:
    """A door with TLS before a server without."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificates / "public.crt", certificates / "private.key")
    inside = urlsplit(url)
    tasks: set[asyncio.Task[None]] = set()

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def enter(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection(inside.hostname, inside.port)
        for task in (asyncio.create_task(copy(reader, inner_writer)), asyncio.create_task(copy(inner_reader, writer))):
            tasks.add(task)

    server = await asyncio.start_server(enter, "127.0.0.1", 0, ssl=context)
    try:
        yield f"rediss://127.0.0.1:{server.sockets[0].getsockname()[1]}/0"
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_certificate_is_checked(tmp_path: Path) -> None:
    certificates = self_signed(tmp_path / "certificates")
    with running_redis(tmp_path / "redis") as server:
        async with over_tls(server.url, certificates) as url:
            known = RedisDirectorySettings(url=url, ca_file=str(certificates / "public.crt"))
            async with RedisDirectory(known).opened() as directory:
                assert await directory.nodes() == {}
            async with RedisDirectory(RedisDirectorySettings(url=url)).opened() as directory:
                with pytest.raises(Unavailable):
                    await directory.nodes()


async def test_sentinels_name_the_primary(tmp_path: Path) -> None:
    with running_sentinel(tmp_path) as sentinel:
        client = connect(RedisSettings(url=sentinel.url), connections=2, timeout=2)
        assert (await client.info("server"))["tcp_port"] == sentinel.primary.port
        await client.aclose()
        unknown = connect(RedisSettings(url=sentinel.url.replace("/chat/", "/other/")), connections=2, timeout=2)
        with pytest.raises(RedisError):
            await unknown.ping()
        await unknown.aclose()


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://localhost", "begins with 'http'"),
        ("localhost:6379", "begins with 'localhost'"),
        ("redis+sentinel://host:26379", "name of the primary"),
        ("redis+sentinel://host:26379/chat/zero", "name of the primary"),
        ("redis+sentinel://host:port/chat/0", "'host:port' in the address of Redis is not a host and a port"),
        ("redis+sentinel://a:1,/chat/0", "is not a host and a port"),
    ],
)
def test_an_address_that_cannot_be_one_is_refused_without_showing_its_password(url: str, reason: str) -> None:
    secret = url.replace("://", "://user:secret@")
    with pytest.raises(SetupError, match=reason) as caught:
        connect(RedisSettings(url=secret), connections=1, timeout=1)
    assert "secret" not in str(caught.value)


def test_the_default_port_of_a_sentinel_is_known() -> None:
    client = connect(RedisSettings(url="redis+sentinel://one,[::1]:2/chat/3"), connections=1, timeout=1)
    asked = client.connection_pool.sentinel_manager.sentinels
    assert [
        (each.connection_pool.connection_kwargs["host"], each.connection_pool.connection_kwargs["port"])
        for each in asked
    ] == [("one", 26379), ("::1", 2)]
    assert client.connection_pool.connection_kwargs["db"] == 3
