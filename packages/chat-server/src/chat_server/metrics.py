"""The numbers of one server, for Prometheus, in a registry of their own: two servers in one process do not mix.

`prometheus_client` is imported at the first scrape, here and in the sources: with the web servers that come with it, it
takes 20 ms, which a start need not wait for.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prometheus_client.core import Metric

    from chat_server.pipeline.dispatch import Entry

Source = Callable[[], "Iterable[Metric]"]


class Metrics:
    """What `/metrics` shows. Hot paths count in plain integers, which a source reads when somebody asks."""

    def __init__(self, node: str = "") -> None:
        self.node = node
        self._sources: list[Source] = []
        self.questions: list[Callable[[], Awaitable[None]]] = []
        self.elsewhere: Callable[[], Awaitable[Mapping[str, str]]] | None = None
        """The texts of other processes that are shown here too, by node; empty where there are none."""

    def gauges(self, read: Callable[[], Mapping[str, float]], help: Mapping[str, str] | None = None) -> None:
        """A gauge for each key of what ``read`` returns at that moment."""

        def source() -> Iterator[Metric]:
            from prometheus_client.core import GaugeMetricFamily

            for name, value in read().items():
                yield GaugeMetricFamily(f"chat_{name}", (help or {}).get(name, name.replace("_", " ")), value=value)

        self.collect(source)

    def commands(self, table: Mapping[str, Entry]) -> None:
        """Calls by command and outcome, and the seconds that they took."""

        def source() -> Iterator[Metric]:
            from prometheus_client.core import CounterMetricFamily

            calls = CounterMetricFamily(
                "chat_commands", "Commands by outcome: ok, an error code, cancelled.", labels=("command", "outcome")
            )
            seconds = CounterMetricFamily("chat_command_seconds", "Time spent in commands.", labels=("command",))
            for name, entry in table.items():
                for outcome, number in list(entry.outcomes.items()):
                    calls.add_metric((name, outcome), number)
                if entry.outcomes:
                    seconds.add_metric((name,), entry.seconds)
            yield calls
            yield seconds

        self.collect(source)

    def collect(self, source: Source) -> None:
        """Ask ``source`` at every scrape; it must not wait."""
        self._sources.append(source)

    def ask_first(self, ask: Callable[[], Awaitable[None]]) -> None:
        """Await ``ask`` before a scrape is answered: for what only a database knows. It must bound itself."""
        self.questions.append(ask)

    def render(self) -> tuple[bytes, str]:
        """The text and its content type."""
        from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
        from prometheus_client.registry import CollectorRegistry

        registry = CollectorRegistry(auto_describe=False)
        for source in self._sources:
            registry.register(_Asked(source))
        return generate_latest(registry), CONTENT_TYPE_LATEST


def merged(texts: Mapping[str, str]) -> bytes:
    """One text of those of several processes: each of its numbers says in the label ``node`` whose it is."""
    from prometheus_client.core import Metric
    from prometheus_client.exposition import generate_latest
    from prometheus_client.parser import text_string_to_metric_families
    from prometheus_client.registry import CollectorRegistry

    families: dict[str, Metric] = {}
    for node, text in texts.items():
        for found in text_string_to_metric_families(text):
            family = families.setdefault(found.name, Metric(found.name, found.documentation, found.type))
            family.samples += [each._replace(labels={**each.labels, "node": node}) for each in found.samples]
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Asked(families.values))
    return generate_latest(registry)


class _Asked:
    def __init__(self, source: Source) -> None:
        self._source = source

    def collect(self) -> Iterable[Metric]:
        return self._source()

    def describe(self) -> Iterable[Metric]:
        return []
