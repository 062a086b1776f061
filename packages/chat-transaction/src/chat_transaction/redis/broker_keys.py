"""The names of the broker's keys in Redis."""

from __future__ import annotations

from zlib import crc32

from attrs import frozen


@frozen
class BrokerKeys:
    """``prefix`` and the number of ``shards`` must be the same for all that share a Redis."""

    prefix: str
    shards: int

    def shard_of(self, key: str) -> int:
        return crc32(key.encode()) % self.shards

    def stream(self, topic: str, shard: int) -> str:
        return f"{self.prefix}:{topic}:{shard}"

    def streams(self, topic: str) -> list[str]:
        return [self.stream(topic, shard) for shard in range(self.shards)]

    def delayed(self, topic: str) -> list[str]:
        """Of delayed records: their times, their data."""
        return [f"{self.prefix}:{topic}:delayed", f"{self.prefix}:{topic}:delayed-data"]

    def members(self, topic: str, group: str) -> str:
        return f"{self.prefix}:{topic}:{group}:members"

    def leases(self, topic: str, group: str) -> list[str]:
        return [f"{self.prefix}:{topic}:{group}:lease:{shard}" for shard in range(self.shards)]
