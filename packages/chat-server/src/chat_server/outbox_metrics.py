"""What is committed and not carried out yet, as numbers for ``/metrics``."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING

from chat_common.clock import Clock
from chat_common.ports.outbox import DeadLetters, OutboxStatus, Relay

if TYPE_CHECKING:
    from prometheus_client.core import Metric

log = logging.getLogger(__name__)

_FRESH = 5.0
"""Seconds for which the table is not asked again: several scrapers cost it no more than one."""
_PATIENCE = 2.0
"""Seconds after which a scrape is answered without the table's part."""


class OutboxMetrics:
    """`ask` reads the table, at most every 5 s; `source` is for `Metrics.collect`. While the table cannot be read, its
    part is missing, rather than old."""

    def __init__(self, relay: Relay, dead_letters: DeadLetters, clock: Clock) -> None:
        self._relay = relay
        self._dead_letters = dead_letters
        self._clock = clock
        self._status: OutboxStatus | None = None
        self._asked = float("-inf")
        self._turn = asyncio.Lock()

    async def ask(self) -> None:
        async with self._turn:
            if self._status is not None and self._clock.monotonic() - self._asked < _FRESH:
                return
            try:
                async with asyncio.timeout(_PATIENCE):
                    self._status = await self._dead_letters.status()
                self._asked = self._clock.monotonic()
            except Exception as error:
                self._status = None
                log.warning("the outbox cannot be counted: %s", type(error).__name__)

    def source(self) -> Iterator[Metric]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily  # see `chat_server.metrics`

        attempts = CounterMetricFamily(
            "chat_outbox_attempts",
            "Records by topic, group and outcome: handled, failed, buried, parked.",
            labels=("topic", "group", "outcome"),
        )
        for place, count in self._relay.outcomes().items():
            attempts.add_metric(place, count)
        yield attempts
        in_flight = GaugeMetricFamily("chat_outbox_in_flight", "Rows in flight in this process.", labels=("topic",))
        for topic, count in self._relay.in_flight().items():
            in_flight.add_metric((topic,), count)
        yield in_flight
        if self._status is not None:
            yield from _table(self._status)


def _table(status: OutboxStatus) -> Iterator[Metric]:
    from prometheus_client.core import GaugeMetricFamily

    depth = GaugeMetricFamily("chat_outbox_rows", "Rows that are not handled by all.", labels=("topic",))
    for topic, count in status.depth.items():
        depth.add_metric((topic,), count)
    yield depth
    yield GaugeMetricFamily("chat_outbox_oldest_seconds", "Age of the oldest row.", value=status.oldest or 0.0)
    dead_letters = GaugeMetricFamily("chat_dead_letters", "What was given up, by state.", labels=("state",))
    dead_letters.add_metric(("buried",), status.buried)
    dead_letters.add_metric(("parked",), status.parked)
    yield dead_letters
    waiting = GaugeMetricFamily(
        "chat_outbox_waiting_for_group", "Rows kept for a group that no process runs.", labels=("topic", "group")
    )
    for group in status.groups:
        waiting.add_metric((group.topic, group.group), group.waiting)
    yield waiting
