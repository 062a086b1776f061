"""The numbers of offline push, by provider, for Prometheus."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from chat_common.ports.push import Result

if TYPE_CHECKING:
    from prometheus_client.core import Metric

BUCKETS = (1.0, 5.0, 10.0, 15.0, 30.0, 60.0, 300.0, 600.0, 3_600.0, 86_400.0)
"""Seconds from the commit of a message to the platform's answer. The ten that a push waits on purpose are in them."""


class PushNumbers:
    """Counts in this process. ``late_after``: seconds after which one that was accepted was late."""

    def __init__(self, late_after: float) -> None:
        self._late_after = late_after
        self.outcomes: Counter[tuple[str, Result]] = Counter()
        self.late: Counter[str] = Counter()
        self.seconds: Counter[str] = Counter()
        self._buckets: Counter[tuple[str, float]] = Counter()

    def note(self, provider: str, result: Result, age: float) -> None:
        """One address was asked for a message committed ``age`` seconds ago."""
        self.outcomes[provider, result] += 1
        if result is not Result.DELIVERED:
            return
        self.late[provider] += age >= self._late_after
        self.seconds[provider] += max(0.0, age)  # type: ignore[assignment]
        for bound in BUCKETS:
            self._buckets[provider, bound] += age <= bound

    def source(self) -> Iterator[Metric]:
        """For `Metrics.collect`."""
        from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily

        sent = CounterMetricFamily("chat_push_sent", "Notifications handed to a provider.", labels=("provider",))
        results = CounterMetricFamily(
            "chat_push_outcomes",
            "What became of them: delivered (accepted by the platform), gone, later, refused.",
            labels=("provider", "result"),
        )
        late = CounterMetricFamily("chat_push_late", "Accepted, but later than late_after.", labels=("provider",))
        took = HistogramMetricFamily(
            "chat_push_acceptance_seconds",
            "From the commit of a message to the platform's acceptance of its notification.",
            labels=("provider",),
        )
        for provider in sorted({provider for provider, _ in self.outcomes}):
            sent.add_metric((provider,), sum(n for (name, _), n in self.outcomes.items() if name == provider))
            for result in Result:
                results.add_metric((provider, result.value), self.outcomes[provider, result])
            late.add_metric((provider,), self.late[provider])
            total = self.outcomes[provider, Result.DELIVERED]
            counts = [(str(bound), float(self._buckets[provider, bound])) for bound in BUCKETS]
            took.add_metric((provider,), [*counts, ("+Inf", float(total))], self.seconds[provider])
        yield from (sent, results, late, took)
