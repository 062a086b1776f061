"""What the broker on Redis adds to the contract: leases, trimming, and a server that must not throw anything away."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path
from secrets import token_hex
from typing import Any

import pytest
from chat_common.contracts.broker import Seen, record
from chat_common.errors import Unavailable
from chat_common.ports.broker import BrokerRecord, RecordsRefused
from chat_common.settings import SetupError
from chat_transaction.redis import broker_scripts
from chat_transaction.redis.broker import RedisBroker
from chat_transaction.redis.shard import OwnedShard
from chat_transaction.redis.subscription import Subscription
from chat_transaction.settings import RedisBrokerSettings

from tests.chat_transaction.conftest import until
from tests.services.redis import Redis, redis_url, running_redis


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with redis_url(tmp_path_factory.mktemp("redis")) as url:
        yield url


def settings(url: str, **others: Any) -> RedisBrokerSettings:
    return RedisBrokerSettings(url=url, prefix=f"test:{token_hex(4)}", retry_first=0.01, **others)


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl", "allkeys-random"])
async def test_a_redis_that_evicts_is_refused_at_the_start(tmp_path: Path, policy: str) -> None:
    with running_redis(tmp_path, "--maxmemory", "64mb", "--maxmemory-policy", policy) as server:
        opening = RedisBroker(settings(server.url)).opened()
        with pytest.raises(SetupError, match=f"{policy}.*noeviction"):
            await opening.__aenter__()


async def test_a_policy_that_is_changed_later_makes_it_unhealthy(tmp_path: Path) -> None:
    with running_redis(tmp_path, "--maxmemory", "64mb", "--maxmemory-policy", "noeviction") as server:
        async with RedisBroker(settings(server.url)).opened() as broker:
            await broker.ready()
            await broker.client.config_set("maxmemory-policy", "allkeys-lru")
            with pytest.raises(Unavailable, match="allkeys-lru"):
                await broker.ready()


async def test_a_redis_that_is_away_is_no_reason_not_to_open(tmp_path: Path) -> None:
    with running_redis(tmp_path) as server:
        url = server.url
    async with RedisBroker(settings(url)).opened() as broker:
        with pytest.raises(Unavailable, match="does not answer"):
            await broker.ready()


async def test_a_redis_that_evicts_and_was_away_is_refused_when_it_is_subscribed(tmp_path: Path) -> None:
    server = Redis(tmp_path, "--maxmemory", "64mb", "--maxmemory-policy", "allkeys-lru")
    async with RedisBroker(settings(server.url)).opened() as broker:
        server.start()
        try:
            with pytest.raises(SetupError, match=r"allkeys-lru.*noeviction"):
                await broker.subscribe("t", "g", Seen(10.0).add).__aenter__()
        finally:
            server.kill()


async def test_no_room_is_no_refusal(tmp_path: Path) -> None:
    with running_redis(tmp_path, "--maxmemory", "8mb", "--maxmemory-policy", "noeviction") as server:
        async with RedisBroker(settings(server.url, shards=1)).opened() as broker:
            records = [BrokerRecord("topic", "a", b"x" * 1_000_000, str(number)) for number in range(30)]
            with pytest.raises(Unavailable):
                await broker.publish(records)


async def test_a_topic_whose_name_is_taken_is_named_and_stops_no_other(url: str) -> None:
    async with RedisBroker(settings(url, shards=1)).opened() as broker:
        await broker.client.set(broker.keys.stream("taken", 0), "something else")
        good = record("fine", "a", 0)
        with pytest.raises(RecordsRefused) as caught:
            await broker.publish([record("taken", "a", 0), good, record("taken", "b", 0)])
        assert {(each.record.topic, each.fault) for each in caught.value.refusals} == {("taken", "topic")}
        assert len(caught.value.refusals) == 2
        seen = Seen(20)
        async with broker.subscribe("fine", "group", seen.add):
            await seen.payloads(1)
        assert seen.records[0].id == good.id


async def test_trimming_keeps_what_a_group_has_not_handled(url: str) -> None:
    async with RedisBroker(settings(url, shards=1)).opened() as broker:
        stream, client = broker.keys.stream("topic", 0), broker.client
        trim = client.register_script(broker_scripts.TRIM)
        for group in ("fast", "slow", "absent"):
            await client.xgroup_create(stream, group, id="0", mkstream=True)
        await broker.publish([record("topic", "a", number) for number in range(4)])
        entries = [entry for entry, _ in await client.xrange(stream)]

        async def handled(group: str, *positions: int) -> int:
            await client.xack(stream, group, *(entries[position] for position in positions))
            await trim(keys=[stream])
            return int(await client.xlen(stream))

        for group in ("fast", "slow"):
            await client.xreadgroup(group, "member", {stream: ">"})
        assert await handled("fast", 0, 1, 2, 3) == 4, "what another group has pending or not read must stay"
        await client.xreadgroup("absent", "member", {stream: ">"}, count=3)
        assert await handled("absent", 0, 1, 2) == 4
        assert await handled("slow", 1, 2, 3) == 4, "the first one is pending with the slow group"
        assert await handled("slow", 0) == 1, "the last one was not read by the third group"
        await client.xreadgroup("absent", "member", {stream: ">"})
        assert await handled("absent", 3) == 0


async def test_a_shard_is_one_members_until_his_lease_is_over(url: str) -> None:
    async with RedisBroker(settings(url, shards=4)).opened() as broker:
        balance = broker.client.register_script(broker_scripts.BALANCE)
        keys = [f"{broker.settings.prefix}:{name}" for name in ("members", "l0", "l1", "l2", "l3")]

        async def held(member: str, life: int) -> list[int]:
            return sorted((await balance(keys=keys, args=[member, life]))[1:])

        assert await held("one", 60_000) == [0, 1, 2, 3]
        assert await held("two", 60_000) == [], "nobody takes what is somebody's"
        assert await held("one", 100) == [0, 1, 2, 3], "his own he keeps, and renews"

        async def taken_over() -> bool:
            return await held("two", 60_000) == [0, 1, 2, 3]

        await until(taken_over)
        assert await held("one", 60_000) == []


async def test_a_lease_that_was_never_renewed_ends_too(url: str) -> None:
    async with RedisBroker(settings(url, shards=1)).opened() as broker:
        balance = broker.client.register_script(broker_scripts.BALANCE)
        keys = [f"{broker.settings.prefix}:{name}" for name in ("members", "l0")]
        assert await balance(keys=keys, args=["one", 100]) == [1, 0]

        async def taken_over() -> bool:
            return bool((await balance(keys=keys, args=["two", 60_000]))[1:] == [0])

        await until(taken_over)


@pytest.mark.parametrize("over", ["before it reads", "while it reads", "not yet"])
async def test_nothing_is_handed_over_after_the_lease(url: str, over: str) -> None:
    """As when the process was stopped: the shard may be another one's by now."""
    seen: list[BrokerRecord] = []
    handed = asyncio.Event()

    async def handle(records: Sequence[BrokerRecord]) -> None:
        seen.extend(records)
        handed.set()

    async with RedisBroker(settings(url, shards=1)).opened() as broker:
        subscription = Subscription(broker.client, broker.settings, broker.keys, "topic", "group", handle, 10)
        await subscription.create_groups()
        loop = asyncio.get_running_loop()
        subscription._member.deadline = loop.time() + (-0.001 if over == "before it reads" else 60.0)
        owned = OwnedShard(subscription._member, broker.keys.stream("topic", 0))
        if over == "while it reads":
            fetch = owned._fetch

            async def slowly(block: int) -> object:
                found = await fetch(block)
                subscription._member.deadline = loop.time() - 0.001
                return found

            owned._fetch = slowly  # type: ignore[method-assign]
        await broker.publish([record("topic", "a", 0)])
        waiting = asyncio.create_task(handed.wait())
        await asyncio.wait([owned.task, waiting], timeout=20, return_when=asyncio.FIRST_COMPLETED)
        pending = await broker.client.xpending(broker.keys.stream("topic", 0), "group")
        if over != "not yet":
            assert owned.task.done()
            assert not seen
            assert pending["pending"] == (1 if over == "while it reads" else 0), "it is the next owner's"
        else:
            assert [each.payload for each in seen] == [b"0"]
        owned.leave()
        waiting.cancel()
        await asyncio.gather(owned.task, waiting, return_exceptions=True)


async def test_an_entry_that_is_no_record_stops_nobody(url: str) -> None:
    seen = Seen(20)
    async with RedisBroker(settings(url, shards=1)).opened() as broker:
        stream = broker.keys.stream("topic", 0)
        await broker.client.xadd(stream, {"r": b"\xc1"})
        await broker.client.xadd(stream, {"other": b"field"})
        async with broker.subscribe("topic", "group", seen.add):
            await broker.publish([record("topic", "a", 0)])
            await seen.payloads(1)

            async def all_handled() -> bool:
                return int((await broker.client.xpending(stream, "group"))["pending"]) == 0

            await until(all_handled)
