"""What the object store does, as numbers for ``/metrics``: counted in plain integers, read at a scrape."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

from attrs import define, field

if TYPE_CHECKING:
    from prometheus_client.core import Metric

BOUNDS = (0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0)


@define
class _Times:
    """A histogram: how many were at most so long."""

    counts: list[int] = field(factory=lambda: [0] * (len(BOUNDS) + 1))
    total: float = 0.0

    def add(self, seconds: float) -> None:
        self.counts[next((at for at, bound in enumerate(BOUNDS) if seconds <= bound), len(BOUNDS))] += 1
        self.total += seconds

    def buckets(self) -> list[tuple[str, float]]:
        names = [*map(str, BOUNDS), "+Inf"]
        return [(name, float(sum(self.counts[: at + 1]))) for at, name in enumerate(names)]


@define
class FileTelemetry:
    """`chat_common.ports.objects.ObjectTelemetry` of one server."""

    _operations: dict[tuple[str, str], _Times] = field(factory=dict)
    _bytes: Counter[str] = field(factory=Counter)
    _uploads: Counter[str] = field(factory=Counter)
    _pictures: _Times = field(factory=_Times)
    _dead: bool = False
    _kept: int = 0
    _free: int | None = None

    def operation(self, name: str, outcome: str, seconds: float) -> None:
        self._operations.setdefault((name, outcome), _Times()).add(seconds)

    def moved(self, direction: Literal["in", "out"], size: int) -> None:
        self._bytes[direction] += size

    def dead(self, dead: bool) -> None:
        self._dead = dead

    def upload(self, outcome: str) -> None:
        self._uploads[outcome] += 1

    def picture(self, seconds: float) -> None:
        self._pictures.add(seconds)

    def room(self, kept: int, free: int | None) -> None:
        self._kept, self._free = kept, free

    def source(self) -> Iterator[Metric]:
        """For `Metrics.collect`."""
        # See `chat_server.metrics`.
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

        operations = HistogramMetricFamily(
            "chat_objects_seconds", "Operations of the object store.", labels=("operation", "outcome")
        )
        for labels, times in list(self._operations.items()):
            operations.add_metric(labels, times.buckets(), times.total)
        yield operations
        moved = CounterMetricFamily(
            "chat_objects_bytes", "Bytes between this process and the object store.", labels=("direction",)
        )
        for direction, size in list(self._bytes.items()):
            moved.add_metric((direction,), size)
        yield moved
        uploads = CounterMetricFamily("chat_uploads", "Uploads by what became of them.", labels=("outcome",))
        for outcome, number in list(self._uploads.items()):
            uploads.add_metric((outcome,), number)
        yield uploads
        pictures = HistogramMetricFamily("chat_pictures_seconds", "Time to convert a picture.")
        pictures.add_metric((), self._pictures.buckets(), self._pictures.total)
        yield pictures
        yield GaugeMetricFamily("chat_objects_dead", "1 while the object store counts as dead.", value=self._dead)
        yield GaugeMetricFamily("chat_files_kept_bytes", "Bytes of files that users keep.", value=self._kept)
        if self._free is not None:
            yield GaugeMetricFamily(
                "chat_objects_free_bytes", "Bytes for which the object store has room.", value=self._free
            )
