"""N4 and N2: one direction between two nodes is cut, and Redis is restarted empty."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from chat_common.client import dev_login
from chat_common.ports.directory import Directory
from chat_common.protocol.frames import Device, Hello, Push
from chat_server import nodes

from tests.nodes.cluster import Cluster, Person, group, person
from tests.services.redis import Redis
from tests.support.raw import raw
from tests.support.waiting import until


def says(text: str) -> Callable[[Push], bool]:
    return lambda push: (push.data.get("body") or {}).get("text") == text


async def say(one: Person, room: str, text: str) -> Any:
    return await one.client.call("submit", {"conversation": room, "kind": "text", "body": {"text": text}})


async def test_one_direction_between_two_nodes_is_cut_and_heals(cluster: Cluster) -> None:
    async with cluster.of("a", "b") as (a, b), person(a, "ada") as ada, person(b, "bob") as bob:
        room = await group(ada, bob)
        await say(ada, room, "before")
        await bob.client.next(Push, says("before"))
        await b.way.down()  # a does not reach b any more; b reaches a
        remote = a.server.rooms.router._peers["b"]
        number = 0
        while remote.answers:
            # Fan-out is where the conversation's shard is, so each says something until a has had to deliver to b.
            number += 1
            for one in (ada, bob):
                await say(one, await group(ada, bob), f"{one.user} {number}")
        await say(bob, room, "still here")
        await until(lambda: not remote.answers)
        assert set(a.server.rooms.router.peers) == {"b"}, "nobody counts as gone: b is announced"
        await b.way.up()
        await until(lambda: remote.answers)
        await say(ada, room, "after")
        await bob.client.next(Push, says("after"), timeout=60)


async def test_a_redis_that_comes_back_empty_is_written_again(
    cluster: Cluster, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nodes, "REBUILT", 10.0)
    async with cluster.of("a", "b") as (a, b), person(a, "ada") as ada, person(b, "bob") as bob:
        room = await group(ada, bob)
        gone = await dev_login(b.url, "bob", "lost-phone")
        redis.kill()
        for number in range(5):
            for one, other in ((ada, bob), (bob, ada)):
                text = f"{number} of {one.user} without Redis"
                await say(one, room, text)
                await other.client.next(Push, says(text), timeout=30)
        async with raw(a.url) as later, raw(b.url) as thief:
            assert (await later.hello(ada.token, ada.device)).user is not None, "nobody is logged out by that"
            await bob.client.call("auth.kick", {"device": "lost-phone"})
            await thief.send(Hello(Device("lost-phone", "test"), gone.token))
            assert await thief.closed() == 4409, "and nobody is let in who was logged out"
            assert await ada.client.call("user.me") != await bob.client.call("user.me")
        redis.start()
        directory: Directory = await a.server.assembly.get(Directory)  # type: ignore[type-abstract]

        async def rebuilt() -> bool:
            try:
                routes = await directory.routes([ada.user, bob.user])
                return {ada.user, bob.user} == set(routes) and set(await directory.nodes()) == {"a", "b"}
            except Exception:
                return False

        await until(rebuilt)
        await say(bob, room, "rebuilt")
        await ada.client.next(Push, says("rebuilt"), timeout=30)
