"""The outbox of an application with a database of its own: usable without the chat server.

::

    chat = ChatOutbox(engine)                       # synchronous or asynchronous SQLAlchemy engine
    with engine.begin() as connection:
        connection.execute(insert(orders).values(id=5))
        chat.enqueue(connection, SubmitMessage(conversation="c1", kind="text", body={"text": "Order 5 is on its way"}),
                     sender="shop", ref="order-5")

    async with chat.relaying(submit=server_submit): # one or more processes; they share the work
        ...
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Literal, overload
from weakref import WeakSet

from chat_common.clock import Clock, SystemClock
from chat_common.ports.broker import Broker
from chat_common.ports.outbox import OutboxEntry
from chat_common.records import Consumer, Ensured
from chat_common.wire import SubmitMessage
from sqlalchemy import Connection, Engine, event
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, async_scoped_session
from sqlalchemy.orm import Session, scoped_session

from chat_transaction.brokers.memory import MemoryBroker
from chat_transaction.consumers.ensured import EnsuredFunction
from chat_transaction.consumers.inbox import InboxConsumer
from chat_transaction.consumers.submits import Submit, submit_entry, submitting
from chat_transaction.relay.relay import SqlRelay
from chat_transaction.settings import RelaySettings
from chat_transaction.sql import tables
from chat_transaction.sql.database import EngineDatabase
from chat_transaction.sql.outbox import SqlOutbox, statement

Intent = SubmitMessage | OutboxEntry


class ChatOutbox:
    """Intents written in the application's own transactions, and the relay that carries them out after commit.

    The engine's database holds the tables of `chat_transaction.sql.tables` (`create_tables`, or their alembic
    revisions). It need not be the chat's.
    """

    def __init__(
        self, engine: Engine | AsyncEngine, *, settings: RelaySettings | None = None, clock: Clock | None = None
    ) -> None:
        self._clock = clock or SystemClock()
        self._settings = settings or RelaySettings(scan_interval=0.25)
        self._outbox = SqlOutbox(self._clock)
        self.database = EngineDatabase(engine)
        self._wake: Callable[[], object] | None = None
        self._heard: WeakSet[Connection] = WeakSet()

    async def create_tables(self) -> None:
        """Create the tables that are missing."""
        await self.database.change(tables.create_tables)

    @overload
    def enqueue(
        self,
        connection: Connection | Session | scoped_session[Any],
        intent: Intent,
        *,
        sender: str = ...,
        ref: str | None = ...,
        delay: float = ...,
    ) -> None: ...

    @overload
    def enqueue(
        self,
        connection: AsyncConnection | AsyncSession | async_scoped_session[Any],
        intent: Intent,
        *,
        sender: str = ...,
        ref: str | None = ...,
        delay: float = ...,
    ) -> Awaitable[None]: ...

    def enqueue(
        self,
        connection: Connection
        | Session
        | scoped_session[Any]
        | AsyncConnection
        | AsyncSession
        | async_scoped_session[Any],
        intent: Intent,
        *,
        sender: str = "",
        ref: str | None = None,
        delay: float = 0.0,
    ) -> Awaitable[None] | None:
        """One INSERT in the caller's transaction; with an asynchronous connection or session: await it.

        A `SubmitMessage` is said by ``sender`` under ``ref`` once, after the commit; never if it is rolled back.
        An `OutboxEntry` goes to its topic: ``enqueue(connection, function.entry(arguments))`` for an ensured function.
        ``delay`` in seconds counts for messages (an entry has its own). `Invalid` when it cannot be carried out.
        """
        if isinstance(connection, scoped_session | async_scoped_session):
            session: Session | AsyncSession = connection()
            return self.enqueue(session, intent, sender=sender, ref=ref, delay=delay)
        entry = _entry(intent, sender, ref, delay)
        if isinstance(connection, AsyncSession):
            return connection.run_sync(lambda session: self._write(session.connection(), entry))
        if isinstance(connection, AsyncConnection):
            return connection.run_sync(lambda inner: self._write(inner, entry))
        if isinstance(connection, Session):
            connection = connection.connection()
        self._write(connection, entry)
        return None

    def enqueue_sql(
        self,
        intent: Intent,
        *,
        sender: str = "",
        ref: str | None = None,
        delay: float = 0.0,
        paramstyle: Literal["format", "qmark"] = "format",
    ) -> tuple[str, list[Any]]:
        """The same INSERT as ``(sql, parameters)`` for a cursor: ``cursor.execute(*chat.enqueue_sql(…))``.

        ``paramstyle`` is the driver's: ``format`` (``%s``: Django, psycopg) or ``qmark`` (``?``: sqlite3).
        """
        return statement(self._outbox.values(_entry(intent, sender, ref, delay)), paramstyle)

    @asynccontextmanager
    async def relaying(
        self,
        *,
        submit: Submit | None = None,
        consumers: Sequence[Consumer | InboxConsumer] = (),
        ensured: Sequence[Ensured | EnsuredFunction[Any]] = (),
        broker: Broker | None = None,
    ) -> AsyncIterator[SqlRelay]:
        """Carry out what is committed, while the context is open. Any number of processes may; they share the shards.

        ``submit`` says messages (absent: they wait in the table). ``broker``: absent, in this process.
        """
        every = [each.on(self.database, self._clock) if isinstance(each, InboxConsumer) else each for each in consumers]
        if submit is not None:
            every.append(submitting(submit))
        functions = [each.record if isinstance(each, EnsuredFunction) else each for each in ensured]
        loop = asyncio.get_running_loop()
        async with MemoryBroker().opened() as memory:
            relay = SqlRelay(self._outbox, broker or memory, self.database, self._clock, self._settings)
            async with relay.running(every, functions):
                self._wake = partial(loop.call_soon_threadsafe, relay.wake)
                try:
                    yield relay
                finally:
                    self._wake = None

    def _write(self, connection: Connection, entry: OutboxEntry) -> None:
        self._outbox.write(connection, [entry])
        if self._wake is not None and connection not in self._heard:
            # The row is not reported but looked up: only a commit may make it visible, and the table says whether.
            self._heard.add(connection)
            event.listen(connection, "commit", self._committing)

    def _committing(self, connection: Connection) -> None:
        """Called within the caller's commit, which nothing here may fail."""
        if (wake := self._wake) is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
                wake()


def _entry(intent: Intent, sender: str, ref: str | None, delay: float) -> OutboxEntry:
    if isinstance(intent, SubmitMessage):
        return submit_entry(intent, sender=sender, ref=ref, delay=delay)
    return intent
