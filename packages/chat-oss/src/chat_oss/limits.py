"""Arguments that every store checks alike."""

from __future__ import annotations

from chat_common.errors import Invalid
from chat_common.ports.objects import LINK_SECONDS_MAX, PARTS_MAX


def check_seconds(seconds: int) -> int:
    """How long a link works: 1 second to 7 days."""
    if not 1 <= seconds <= LINK_SECONDS_MAX:
        raise Invalid(
            f"seconds: A link works for 1 to {LINK_SECONDS_MAX} seconds.", field="seconds", limit=LINK_SECONDS_MAX
        )
    return seconds


def check_part(number: int) -> int:
    """The number of a part: 1 to 10,000."""
    if not 1 <= number <= PARTS_MAX:
        raise Invalid(f"number: Parts are numbered from 1 to {PARTS_MAX}.", field="number", limit=PARTS_MAX)
    return number


def check_size(size: int) -> None:
    """A size in bytes."""
    if size < 0:
        raise Invalid("size: The size cannot be negative.", field="size", limit=0)
