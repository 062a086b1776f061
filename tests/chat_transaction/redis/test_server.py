"""A server whose directory and cache are on Redis, by two lines of its configuration."""

from __future__ import annotations

from pathlib import Path

from chat_common.client import MessageReceived, connect, dev_login
from chat_common.errors import Unavailable
from chat_common.ports.cache import Cache
from chat_common.ports.directory import Directory
from chat_transaction.redis.cache import RedisCache
from chat_transaction.redis.directory import RedisDirectory

from tests.chat_transaction.conftest import until
from tests.services.redis import running_redis
from tests.support.serving import in_process


async def test_messages_go_on_while_redis_is_emptied_and_away(tmp_path: Path) -> None:
    with running_redis(tmp_path / "redis") as redis:
        settings = {
            "ports": {"directory": "redis", "cache": "redis"},
            "directory": {"redis": {"url": redis.url, "timeout": 0.5}},
            "cache": {"redis": {"url": redis.url, "timeout": 0.5}},
            "gateway": {"lease": 3.0, "heartbeat": 1.0},
        }
        async with in_process(tmp_path / "data", settings=settings) as (server, url):
            directory = await server.assembly.get(Directory)  # type: ignore[type-abstract]
            cache = await server.assembly.get(Cache)  # type: ignore[type-abstract]
            assert isinstance(directory, RedisDirectory)
            assert isinstance(cache, RedisCache)
            ann, bob = await dev_login(url, "ann"), await dev_login(url, "bob")
            async with connect(url, ann.token) as one, connect(url, bob.token) as two:
                await one.live()
                await two.live()
                heard: set[str] = set()
                two.on(MessageReceived, lambda event: heard.add(event.message.body["text"]))
                talk = await server.call("direct.open", {"user": bob.user.user}, user=ann.user.user)

                async def both_are_there() -> bool:
                    return len(await directory.routes([ann.user.user, bob.user.user])) == 2

                async def is_heard(text: str) -> None:
                    await one.submit(talk.conversation, text)

                    async def is_there() -> bool:
                        return text in heard

                    await until(is_there, 30)

                await until(both_are_there)
                await is_heard("with Redis")
                await directory.client.flushall()
                assert not await directory.routes([bob.user.user])
                await is_heard("after it was emptied")
                await until(both_are_there)
                redis.kill()
                await is_heard("without it")
                redis.start()
                await until(lambda: answers(directory))
                await until(both_are_there)
                await is_heard("with it again")


async def answers(directory: RedisDirectory) -> bool:
    try:
        await directory.nodes()
    except Unavailable:
        return False
    return True
