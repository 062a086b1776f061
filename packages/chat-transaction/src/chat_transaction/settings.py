"""Settings of the relay and of the in-process broker. Times are in seconds."""

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
    capacity: Count = setting(10_000, help="Rows on their way at once.")
    lease: Seconds = setting(15.0, help="How long a relay that vanished keeps its shards.")
    retry_first: Seconds = setting(0.2, help="Pause after the first failure; it doubles from there.")
    retry_cap: Seconds = setting(60.0, help="Longest pause between two attempts.")
    purge_interval: Seconds = setting(0.5, help="Delete handled rows this often.")
    republish_after: Seconds = setting(
        30.0, help="Publish again what a broker took and nobody confirmed, when its topic stands still this long."
    )
    drain: Annotated[float, Meta(ge=0)] = setting(2.0, help="At the end, wait this long for what is on its way.")


@frozen(kw_only=True)
class MemoryBrokerSettings:
    """Section ``[broker.memory]``."""

    shards: Count = setting(4, help="Batches of a consumer group that run side by side.")
    capacity: Count = setting(10_000, help="Records a consumer group may have waiting.")
    retry_first: Seconds = setting(0.2, help="Pause after the first failure; it doubles from there.")
    retry_cap: Seconds = setting(60.0, help="Longest pause between two attempts.")
