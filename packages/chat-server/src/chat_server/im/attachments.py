"""What im needs of whoever keeps files; the composition root hands it over."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Protocol

from sqlalchemy import Connection


class Attachments(Protocol):
    """Works inside the transaction that stores or recalls a message; may be run again when a batch is replayed."""

    @property
    def kinds(self) -> Collection[str]:
        """The kinds of message that carry files."""
        ...

    def attach(
        self, connection: Connection, user: str, conversation: str, seq: int, kind: str, body: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Take the files that ``body`` names for message ``seq``; the body to store. Raises `ChatError` to refuse."""
        ...

    def detach(self, connection: Connection, conversation: str, seq: int) -> None:
        """The message was recalled: its files are nobody's from now on."""
        ...


class NoAttachments:
    """For a server without files."""

    kinds: Collection[str] = ()

    def attach(
        self, connection: Connection, user: str, conversation: str, seq: int, kind: str, body: Mapping[str, Any]
    ) -> dict[str, Any]:
        raise NotImplementedError

    def detach(self, connection: Connection, conversation: str, seq: int) -> None:
        pass
