"""Bounds of answers: rows a page, and bytes, since no answer may be above 256 KiB."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Any

import msgspec
from chat_common.errors import Invalid
from msgspec import Meta

DEFAULT = 50
MOST = 100
MOST_BYTES = 160_000
"""Of message bodies in one page; leaves room for 200 memberships of one stamp below 256 KiB."""

Limit = Annotated[int, Meta(ge=1, le=MOST)]
Cursor = Annotated[str, Meta(min_length=1, max_length=512)]


def row_bytes(row: Any) -> int:
    """About how many bytes a message row takes in an answer."""
    return 500 + sum(len(text.encode()) for text in (row.body, row.reply, row.mentions, row.reactions) if text)


def body_bytes(body: Any) -> int:
    """About how many bytes a message takes in an answer, by its body as it is answered."""
    return 700 + len(msgspec.json.encode(body))


def within_bytes(rows: list[Any]) -> list[Any]:
    """The rows from the first on that fit into one answer, at least one."""
    total = 0
    for number, row in enumerate(rows):
        total += row_bytes(row)
        if total > MOST_BYTES and number:
            return rows[:number]
    return rows


def write_cursor(command: str, *parts: Any) -> str:
    """An opaque cursor of this command's list."""
    return base64.urlsafe_b64encode(msgspec.json.encode((command, parts))).decode().rstrip("=")


def read_cursor(command: str, cursor: str, kinds: Any) -> Any:
    """The parts again; `Invalid` (field ``cursor``) for what we did not write, or for another list."""
    try:
        raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        of, parts = msgspec.json.decode(raw, type=tuple[str, msgspec.Raw])
        if of == command:
            return msgspec.json.decode(parts, type=kinds)
    except (binascii.Error, msgspec.DecodeError, ValueError):
        raise Invalid("cursor: This cursor was not given out by this server.", field="cursor") from None
    raise Invalid(f"cursor: This cursor belongs to another list than {command}.", field="cursor")
