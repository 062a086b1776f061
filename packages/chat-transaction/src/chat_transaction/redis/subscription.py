"""One member of a consumer group on Redis."""

from __future__ import annotations

import asyncio
import logging
import secrets

from chat_common.ports.broker import Handler
from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from chat_transaction.brokers.delivery import cancelled, ended, persistently
from chat_transaction.redis import broker_scripts
from chat_transaction.redis.broker_keys import BrokerKeys
from chat_transaction.redis.shard import Member, OwnedShard
from chat_transaction.settings import RedisBrokerSettings

log = logging.getLogger(__name__)


class Subscription:
    """One member of a group: which shards it owns, and a task for each."""

    def __init__(
        self,
        client: Redis,
        settings: RedisBrokerSettings,
        keys: BrokerKeys,
        topic: str,
        group: str,
        handler: Handler,
        batch: int,
    ) -> None:
        self.name = f"group {group} of topic {topic} on Redis"
        self._client = client
        self._settings = settings
        self._keys = keys
        self._topic = topic
        self._group = group
        self._id = secrets.token_hex(8)
        self._member = Member(client, settings, topic, group, self._id, batch, handler, self.create_groups)
        self._members = keys.members(topic, group)
        self._leases = keys.leases(topic, group)
        script = self._client.register_script
        self._balance, self._release = script(broker_scripts.BALANCE), script(broker_scripts.RELEASE)
        self._forget = script(broker_scripts.FORGET)
        self._release_delayed = script(broker_scripts.RELEASE_DELAYED)
        self._stopping = asyncio.Event()
        self._owned: dict[int, OwnedShard] = {}

    def stop(self) -> None:
        self._stopping.set()
        for owned in self._owned.values():
            owned.leave()

    async def create_groups(self) -> None:
        for stream in self._keys.streams(self._topic):
            try:
                await self._client.xgroup_create(stream, self._group, id="0", mkstream=True)
            except ResponseError as error:
                if "BUSYGROUP" not in str(error):
                    raise

    async def run(self) -> None:
        delays = asyncio.create_task(persistently(self._move_delayed, f"what moves delayed records of {self._topic}"))
        try:
            await persistently(self._keep_shards, self.name)
            await ended([owned.task for owned in self._owned.values()], self._settings.leave_timeout, self.name)
            await self._goodbye()
        finally:
            await cancelled([delays, *(owned.task for owned in self._owned.values())], self.name)

    async def _keep_shards(self) -> None:
        while not self._stopping.is_set():
            try:
                await self._rebalance()
            except (RedisError, OSError) as error:
                log.warning("Redis does not answer to %s of %s: %s", self._group, self._topic, error)
            await self._pause(self._settings.lease / 3)

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            pass

    async def _rebalance(self) -> None:
        """Renew what is held, take what is free, give back what others lack."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        life = round(self._settings.lease * 1000)
        members, *held = await self._balance(keys=[self._members, *self._leases], args=[self._id, life])
        # A tenth is kept back for the drift between two clocks.
        self._member.deadline = started + self._settings.lease * 0.9
        share = -(-self._settings.shards // members)
        for shard, owned in list(self._owned.items()):
            if owned.task.done():
                if not owned.task.cancelled() and (error := owned.task.exception()) is not None:
                    log.error("shard %d of %s fell, and is begun again: %r", shard, self.name, error)
                del self._owned[shard]
                if shard in held:
                    await self._release(keys=[self._leases[shard]], args=[self._id])
                    held.remove(shard)
            elif shard not in held:
                owned.lose()
        for shard in held:
            if shard not in self._owned and not self._stopping.is_set():
                self._owned[shard] = OwnedShard(self._member, self._keys.stream(self._topic, shard))
        for shard in sorted(self._owned)[share:]:
            self._owned[shard].leave()

    async def _goodbye(self) -> None:
        try:
            for lease in self._leases:
                await self._release(keys=[lease], args=[self._id])
            await self._client.zrem(self._members, self._id)
            for stream in self._keys.streams(self._topic):
                await self._forget(keys=[stream], args=[self._group, self._id])
        except (RedisError, OSError) as error:
            log.warning("Redis does not answer to a leaving %s of %s: %s", self._group, self._topic, error)

    async def _move_delayed(self) -> None:
        keys = [*self._keys.delayed(self._topic), *self._keys.streams(self._topic)]
        while True:
            wait = 500
            try:
                wait = await self._release_delayed(keys=keys)
            except (RedisError, OSError):
                log.debug("delayed records of %s cannot be moved now", self._topic)
            # Somebody may delay a record for less than the next one has to wait.
            await asyncio.sleep(0.1 if wait < 0 else min(wait / 1000, 0.1))
