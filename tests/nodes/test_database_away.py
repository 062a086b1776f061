"""N3: PostgreSQL goes away with all connections, and comes back: a clear answer meanwhile, nothing done by half."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import httpx2
from attrs import evolve
from chat_common.protocol.frames import Error, Push
from msgspec import UNSET

from tests.faults_proxy import FaultsProxy
from tests.nodes.cluster import Cluster, Person, group, person
from tests.nodes.test_cut import says


async def test_without_its_database_a_node_says_so_and_goes_on_by_itself(cluster: Cluster) -> None:
    where = urlsplit(cluster.store.url)
    async with FaultsProxy((where.hostname or "", where.port or 5432)) as way:
        cluster.store = evolve(cluster.store, url=cluster.store.url.replace(f":{where.port}/", f":{way.port}/"))
        async with cluster.of("a", "b") as (a, b), person(a, "ada") as ada, person(b, "bob") as bob:
            room = await group(ada, bob)

            async def say(text: str) -> Any:
                return await ada.client.call(
                    "submit", {"conversation": room, "kind": "text", "body": {"text": text}}, ref=text
                )

            first = (await say("before"))["seq"]
            await bob.client.next(Push, says("before"))
            await way.down()
            for number in range(3):
                refused = await say(f"away {number}")
                assert isinstance(refused, Error)
                assert (refused.code, refused.retry_after is UNSET) == ("unavailable", False), refused
            async with httpx2.AsyncClient(base_url=a.url) as balancer:
                assert (await balancer.get("/readyz")).status_code == 503
            await way.up()
            receipts: list[Any] = []
            while len(receipts) < 3:
                answer = await say(f"away {len(receipts)}")
                if isinstance(answer, Error):
                    assert answer.code == "unavailable", answer
                else:
                    receipts.append(answer)
            assert [receipt["seq"] for receipt in receipts] == [first + 1, first + 2, first + 3], "not by half"
            told = [push async for push in pushed(bob, room, first + 3)]
            assert [push.data["seq"] for push in told] == [first + 1, first + 2, first + 3]
            assert await bob.client.call("user.me"), "his connection is still the same one"


async def pushed(one: Person, room: str, last: int) -> AsyncIterator[Push]:
    """The messages of this room as they come, up to this one."""

    def here(push: Push) -> bool:
        return push.event == "message" and push.data["conversation"] == room

    seq = 0
    while seq < last:
        push = await one.client.next(Push, here, timeout=60)
        seq = push.data["seq"]
        yield push
