"""What the object store does, for Prometheus: in the process-wide registry, which the server's ``/metrics`` prints."""

from __future__ import annotations

from functools import lru_cache

from prometheus_client import Counter, Gauge, Histogram

SECONDS = Histogram(
    "chat_objects_seconds",
    "Time of object store operations.",
    ["operation", "outcome"],
    buckets=(0.001, 0.005, 0.02, 0.1, 0.5, 2, 10),
)
BYTES = Counter("chat_objects_bytes", "Bytes moved between this process and the object store.", ["direction"])
DEAD = Gauge("chat_objects_dead", "1 while the object store counts as dead.")
UPLOADS = Counter("chat_uploads", "Uploads by how they ended.", ["outcome"])
PICTURES = Histogram("chat_pictures_seconds", "Time to convert a picture.", buckets=(0.005, 0.02, 0.1, 0.5, 2, 10))


@lru_cache(maxsize=64)
def seconds_of(operation: str, outcome: str) -> Histogram:
    """The child of `SECONDS`, looked up once."""
    return SECONDS.labels(operation, outcome)
