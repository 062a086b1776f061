"""Reliable messaging on SQLAlchemy: intents in the caller's own transaction, carried out after its commit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chat_transaction.consumers.consumption import Unprocessable
from chat_transaction.consumers.ensured import EnsuredFunction, ensured
from chat_transaction.consumers.inbox import InboxConsumer, consumer
from chat_transaction.sql.tables import create_tables

if TYPE_CHECKING:
    from chat_transaction.chat_outbox import ChatOutbox

__all__ = ["ChatOutbox", "EnsuredFunction", "InboxConsumer", "Unprocessable", "consumer", "create_tables", "ensured"]


def __getattr__(name: str) -> Any:
    # Imported when asked for: the server, which does not need it, would load SQLAlchemy's ORM with it.
    if name == "ChatOutbox":
        from chat_transaction.chat_outbox import ChatOutbox

        return ChatOutbox
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
