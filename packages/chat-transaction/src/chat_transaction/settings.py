"""Settings of the relay and of the in-process broker."""

from __future__ import annotations

from attrs import field, frozen
from attrs.validators import ge, gt


@frozen
class RelaySettings:
    """Section ``[relay.sql]``; times in seconds."""

    scan_interval: float = field(default=1.0, validator=gt(0), metadata={"help": "Look for rows that nobody reported."})
    scan_limit: int = field(default=1_000, validator=ge(1), metadata={"help": "Rows read at once."})
    capacity: int = field(default=10_000, validator=ge(1), metadata={"help": "Rows on their way at once."})
    lease: float = field(default=15.0, validator=gt(0), metadata={"help": "How long a dead relay keeps its shards."})
    retry_first: float = field(default=0.2, validator=gt(0), metadata={"help": "Pause after the first failure."})
    retry_cap: float = field(default=60.0, validator=gt(0), metadata={"help": "Longest pause between two attempts."})
    purge_interval: float = field(default=0.5, validator=gt(0), metadata={"help": "Delete handled rows this often."})
    drain: float = field(default=2.0, validator=ge(0), metadata={"help": "At the end, wait for what is on its way."})


@frozen
class MemoryBrokerSettings:
    """Section ``[broker.memory]``."""

    shards: int = field(default=4, validator=ge(1), metadata={"help": "Batches of a group that run side by side."})
    capacity: int = field(default=10_000, validator=ge(1), metadata={"help": "Records a group may have waiting."})
    retry_first: float = field(default=0.2, validator=gt(0), metadata={"help": "Pause after the first failure."})
    retry_cap: float = field(default=60.0, validator=gt(0), metadata={"help": "Longest pause between two attempts."})
