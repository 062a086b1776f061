"""Reliable messaging on SQLAlchemy: intents in the caller's own transaction, carried out after its commit."""

from chat_transaction.chat_outbox import ChatOutbox
from chat_transaction.consumption import Unprocessable
from chat_transaction.ensured import EnsuredFunction, ensured
from chat_transaction.inbox import InboxConsumer, consumer
from chat_transaction.tables import create_tables

__all__ = ["ChatOutbox", "EnsuredFunction", "InboxConsumer", "Unprocessable", "consumer", "create_tables", "ensured"]
