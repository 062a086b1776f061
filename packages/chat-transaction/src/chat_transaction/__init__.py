"""Reliable messaging on SQLAlchemy: intents in the caller's own transaction, carried out after its commit."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chat_transaction.chat_outbox import ChatOutbox
    from chat_transaction.consumption import Unprocessable
    from chat_transaction.ensured import EnsuredFunction, ensured
    from chat_transaction.inbox import InboxConsumer, consumer
    from chat_transaction.tables import create_tables

__all__ = ["ChatOutbox", "EnsuredFunction", "InboxConsumer", "Unprocessable", "consumer", "create_tables", "ensured"]

_HOMES = {
    "ChatOutbox": "chat_outbox",
    "EnsuredFunction": "ensured",
    "InboxConsumer": "inbox",
    "Unprocessable": "consumption",
    "consumer": "inbox",
    "create_tables": "tables",
    "ensured": "ensured",
}


def __getattr__(name: str) -> Any:
    # Imported when asked for: the server, which needs none of these, would load SQLAlchemy's ORM with them.
    if name in _HOMES:
        return getattr(import_module(f"chat_transaction.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
