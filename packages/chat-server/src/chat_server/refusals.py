"""What is turned away at the door: counted by its reason, and said in one line a minute for each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import structlog
from chat_common.clock import Clock, SystemClock
from chat_common.errors import ChatError

if TYPE_CHECKING:
    from prometheus_client.core import Metric

NAMING = {"user.rename": "rename", "group.create": "group", "group.update": "group", "auth.register": "registration"}
"""Commands by which people give names, and what each is called in the metric."""
EVERY = 60.0
"""Seconds between two lines about the same reason."""

log = structlog.get_logger("chat.refused")


class Refusals:
    """One for a server. Reasons are words of the code, never a stranger's, so that there are few of them."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._said: dict[str, float] = {}
        self._since: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()
        self.names: Counter[tuple[str, str]] = Counter()

    def note(self, reason: str, **fields: Any) -> None:
        """Count it. The line that says it has the ``fields`` of the one that made it be written, and how many there
        were since the last line."""
        self.counts[reason] += 1
        self._since[reason] += 1
        now = self._clock.monotonic()
        if now - self._said.get(reason, -EVERY) >= EVERY:
            self._said[reason] = now
            log.warning("refused", reason=reason, times=self._since.pop(reason), **fields)

    def note_name(self, act: str, error: ChatError) -> None:
        """Count a name that somebody wanted and did not get. ``act``: ``rename``, ``group`` or ``registration``."""
        self.names[act, error.reason or error.code] += 1

    def source(self) -> Iterable[Metric]:
        """For `chat_server.metrics.Metrics.collect`."""
        from prometheus_client.core import CounterMetricFamily  # see `chat_server.metrics`

        family = CounterMetricFamily("chat_refused", "Turned away, by reason.", labels=("reason",))
        for reason, number in sorted(self.counts.items()):
            family.add_metric((reason,), number)
        yield family
        names = CounterMetricFamily(
            "chat_names_refused", "Renames, groups and registrations refused.", labels=("act", "reason")
        )
        for pair, number in sorted(self.names.items()):
            names.add_metric(pair, number)
        yield names
