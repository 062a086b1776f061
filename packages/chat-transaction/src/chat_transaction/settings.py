"""Settings of the relay and the brokers. Times are in seconds."""

from __future__ import annotations

from typing import Annotated

from attrs import frozen
from chat_common.settings import setting
from msgspec import Meta

Seconds = Annotated[float, Meta(gt=0)]
Count = Annotated[int, Meta(ge=1)]


@frozen(kw_only=True)
class RelaySettings:
    """Section ``[relay.sql]``."""

    scan_interval: Seconds = setting(1.0, help="Look this often for rows that nobody reported, when alone.")
    shared_scan_interval: Seconds = setting(
        0.05, help="The same while other relays, whose writers report elsewhere, are alive."
    )
    scan_limit: Count = setting(1_000, help="Rows read at once.")
    capacity: Count = setting(10_000, help="Rows of a topic in flight at once; the others wait in the table.")
    lease: Seconds = setting(15.0, help="How long a relay that vanished keeps its shards.")
    retry_first: Seconds = setting(0.2, help="Pause after the first failure; it doubles from there.")
    retry_cap: Seconds = setting(60.0, help="Longest pause between two attempts.")
    purge_interval: Seconds = setting(0.5, help="Delete handled rows this often.")
    republish_after: Seconds = setting(
        30.0,
        help="Publish again what a broker took and nobody confirmed, when its topic stands still this long; then after "
        "twice that, and so on up to sixteen fold.",
    )
    group_patience: Seconds = setting(
        604_800.0, help="Rows wait this long for a consumer group that no process runs any more; then it is forgotten."
    )
    inbox_retention: Annotated[float, Meta(ge=3_600)] = setting(
        604_800.0, help="Remember this long what consumers have applied: longer than a broker delivers anything again."
    )
    drain_timeout: Annotated[float, Meta(ge=0)] = setting(2.0, help="At the end, wait this long for rows in flight.")


@frozen(kw_only=True)
class MemoryBrokerSettings:
    """Section ``[broker.memory]``."""

    shards: Count = setting(4, help="Batches of a consumer group that run side by side.")
    capacity: Count = setting(10_000, help="Records a consumer group may have waiting.")
    record_bytes: Count = setting(4_000_000, help="Largest payload; larger records are refused.")
    leave_timeout: Seconds = setting(10.0, help="Leaving waits this long for a running batch, then cancels it.")
    retry_first: Seconds = setting(0.2, help="Pause after the first failure; it doubles from there.")
    retry_cap: Seconds = setting(60.0, help="Longest pause between two attempts.")


@frozen(kw_only=True)
class RedisSettings:
    """How to reach Redis: what the sections of all backends on Redis have in common."""

    url: str = setting(
        "redis://127.0.0.1:6379/0",
        help="Where Redis is: redis://[user:password@]host:port/database; rediss:// with TLS; "
        "redis+sentinel://[user:password@]host:port,host:port/name/database asks Sentinels for the primary of that "
        "name (rediss+sentinel:// with TLS).",
        secret=True,
    )
    ca_file: str = setting("", help="With TLS: the certificates to trust; empty: those of the system.")
    cert_file: str = setting("", help="With TLS: the certificate to show; empty: none.")
    key_file: str = setting("", help="With TLS: the key of that certificate; empty: it is in the same file.")
    sentinel_user: str = setting("", help="User name that Sentinels ask for; empty: none.")
    sentinel_password: str = setting("", help="Password that Sentinels ask for; empty: none.", secret=True)


@frozen(kw_only=True)
class RedisBrokerSettings(RedisSettings):
    """Section ``[broker.redis]``. ``shards`` and ``prefix`` must be the same for all that share a Redis."""

    prefix: str = setting("chat:broker", help="All keys begin with it.")
    shards: Annotated[int, Meta(ge=1, le=256)] = setting(8, help="Streams per topic: consumers of a group at most.")
    capacity: Count = setting(100_000, help="Records a stream may hold; then publishing waits.")
    record_bytes: Count = setting(4_000_000, help="Largest record, and most that is appended at once.")
    leave_timeout: Seconds = setting(10.0, help="Leaving waits this long for running batches, then cancels them.")
    connections: Count = setting(100, help="Connections at most; each owned stream reads on one.")
    lease: Seconds = setting(6.0, help="How long a consumer that vanished keeps its shards.")
    retry_first: Seconds = setting(0.2, help="Pause after the first failure; it doubles from there.")
    retry_cap: Seconds = setting(60.0, help="Longest pause between two attempts.")


@frozen(kw_only=True)
class RedisDirectorySettings(RedisSettings):
    """Section ``[directory.redis]``. ``prefix`` must be the same for all nodes."""

    prefix: str = setting("chat:directory", help="All keys begin with it.")
    timeout: Seconds = setting(2.0, help="An answer that takes longer counts as Redis being away.")
    open_calls: Count = setting(100_000, help="Calls that may wait for Redis at once; more are refused.")


@frozen(kw_only=True)
class RedisCacheSettings(RedisSettings):
    """Section ``[cache.redis]``. ``prefix`` must be the same for all nodes."""

    prefix: str = setting("chat:cache", help="All keys begin with it.")
    timeout: Seconds = setting(2.0, help="An answer that takes longer counts as Redis being away.")
    open_calls: Count = setting(100_000, help="Calls that may wait for Redis at once; more are refused.")
    count_nodes: Seconds = setting(
        5.0, help="Note this often that this node lives: while Redis is away, each counts its part of a rate limit."
    )


@frozen(kw_only=True)
class RocketBrokerSettings:
    """Section ``[broker.rocketmq]``."""

    endpoints: str = setting("127.0.0.1:8081", help="The proxy: host:port, several separated by semicolons.")
    access_key: str = setting("", help="Access key; empty: none is asked for.", secret=True)
    secret_key: str = setting("", help="Secret key.", secret=True)
    namespace: str = setting("", help="Namespace of topics and groups.")
    prefix: str = setting("chat-", help="The names of topics and groups begin with it.")
    queues: Count = setting(8, help="Queues per topic, as `chat-server rocketmq topics` writes them.")
    message_bytes: Count = setting(
        4_000_000, help="Largest message, records and all; keep it below the broker's maxMessageSize (4 MiB)."
    )
    leave_timeout: Seconds = setting(10.0, help="Leaving waits this long for running batches, then cancels them.")
    sends: Count = setting(64, help="Messages on their way to the broker at once.")
    threads: Count = setting(64, help="Messages of a group in hand at once; each failing key keeps one meanwhile.")
    workers: Count = setting(4, help="Batches of a group that run side by side.")
    send_patience: Seconds = setting(10.0, help="How long a send that the broker refuses for load is repeated.")
    start_patience: Seconds = setting(60.0, help="How long a start waits for a broker that does not answer yet.")
    retry_first: Seconds = setting(0.2, help="Pause after the first failure; it doubles from there.")
    retry_cap: Seconds = setting(60.0, help="Longest pause between two attempts.")
