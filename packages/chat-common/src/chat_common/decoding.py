"""Types that msgspec reads, looked at before any thread does."""

from __future__ import annotations

from typing import Any

import msgspec


def prepare(*kinds: Any) -> None:
    """Let msgspec look at these types, and at those they are made of, now.

    It keeps what it finds with each class, and keeps it before it is complete: two threads that are the first to
    decode into one class end the process (msgspec 0.22; a segmentation fault, seen in servers that had just started).
    So whoever brings a type to be decoded into prepares it: records do when they are made, modules by a decoder of
    their own. A type that msgspec cannot read, such as a reply that is only ever encoded, is left alone.
    """
    for kind in kinds:
        try:
            msgspec.json.Decoder(kind)
        except TypeError:
            continue
