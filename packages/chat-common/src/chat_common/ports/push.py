"""Offline push: tell a person who is away."""

from __future__ import annotations

from typing import Any, Protocol

from attrs import frozen


@frozen
class PushNote:
    """What goes out: never more than a preview. ``collapse`` replaces an earlier note of the same key."""

    user: str
    device: str
    address: dict[str, Any]
    conversation: str
    seq: int
    title: str
    text: str
    collapse: str


class PushProvider(Protocol):
    """At least once, collapsed by key. Raises `NotFound` when the address is dead (it is then dropped), `Unavailable`
    to be tried again later."""

    async def push(self, note: PushNote) -> None: ...
