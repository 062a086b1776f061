"""An application writes intents in its own transactions: they happen once, or never."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen
from chat_common.errors import Conflict, Invalid, NotAMember, Unavailable
from chat_common.ports.broker import BrokerRecord
from chat_common.ports.outbox import OutboxEntry
from chat_common.records import Caller
from chat_common.wire import SubmitMessage
from chat_transaction import ChatOutbox, consumer, ensured
from chat_transaction.settings import RelaySettings
from chat_transaction.sql import tables
from sqlalchemy import Connection, create_engine, select, text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from tests.chat_transaction.conftest import Shop, entry, sqlite_engine, until

QUICK = RelaySettings(scan_interval=0.05, purge_interval=0.01, retry_first=0.01, retry_cap=0.02)


class Server:
    """Stands where the chat server is: notes what is submitted, refuses when told to."""

    def __init__(self) -> None:
        self.said: list[tuple[str | None, str, str, str]] = []
        self.errors: list[Exception] = []

    async def submit(self, caller: Caller, request: SubmitMessage) -> None:
        if self.errors:
            raise self.errors.pop(0)
        self.said.append((caller.user, caller.ref, request.conversation, request.body["text"]))

    async def until(self, count: int) -> None:
        async def enough() -> bool:
            return len(self.said) >= count

        await until(enough)


def message(words: str, conversation: str = "c1") -> SubmitMessage:
    return SubmitMessage(conversation=conversation, kind="text", body={"text": words})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "shop.db"


@pytest.fixture
async def chat(path: Path) -> AsyncIterator[ChatOutbox]:
    engine = sqlite_engine(path)
    chat = ChatOutbox(engine, settings=QUICK)
    await chat.create_tables()
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE orders (id INTEGER PRIMARY KEY)"))
    yield chat
    engine.dispose()


async def test_order_and_message_commit_together_or_not_at_all(chat: ChatOutbox, path: Path) -> None:
    engine, server = sqlite_engine(path), Server()
    async with chat.relaying(submit=server.submit):
        with engine.begin() as connection:
            connection.execute(text("INSERT INTO orders VALUES (1)"))
            chat.enqueue(connection, message("order 1"), sender="shop", ref="order-1")
        with engine.connect() as connection:
            connection.execute(text("INSERT INTO orders VALUES (2)"))
            chat.enqueue(connection, message("order 2"), sender="shop", ref="order-2")
            connection.rollback()
        with Session(engine) as session, session.begin():
            session.execute(text("INSERT INTO orders VALUES (3)"))
            chat.enqueue(session, message("order 3"), sender="shop", ref="order-3")
        await server.until(2)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT id FROM orders")).scalars().all() == [1, 3]
        assert not connection.execute(select(tables.outbox)).all()
    assert server.said == [("shop", "order-1", "c1", "order 1"), ("shop", "order-3", "c1", "order 3")]
    engine.dispose()


async def test_asynchronous_connections_and_sessions(path: Path) -> None:
    engine, server = create_async_engine(f"sqlite+aiosqlite:///{path}"), Server()
    chat = ChatOutbox(engine, settings=QUICK)
    await chat.create_tables()
    async with chat.relaying(submit=server.submit):
        async with engine.begin() as connection:
            await chat.enqueue(connection, message("one"), sender="shop", ref="1")
        async with AsyncSession(engine) as session, session.begin():
            await chat.enqueue(session, message("two"), sender="shop", ref="2")
        async with AsyncSession(engine) as session:
            await chat.enqueue(session, message("never"), sender="shop", ref="3")
            await session.rollback()
        await server.until(2)
    assert [words for *_, words in server.said] == ["one", "two"]
    await engine.dispose()


async def test_a_commit_wakes_the_relay_of_the_same_process(path: Path) -> None:
    engine, server = sqlite_engine(path), Server()
    chat = ChatOutbox(engine, settings=RelaySettings(scan_interval=60))
    await chat.create_tables()
    async with chat.relaying(submit=server.submit):
        with engine.begin() as connection:
            chat.enqueue(connection, message("now"), sender="shop")
        await server.until(1)
    engine.dispose()


async def test_a_plain_cursor(chat: ChatOutbox, path: Path) -> None:
    server = Server()
    connection = sqlite3.connect(path)
    connection.execute(*chat.enqueue_sql(message("one"), sender="shop", ref="1", paramstyle="qmark"))
    connection.commit()
    connection.execute(*chat.enqueue_sql(message("never"), sender="shop", ref="2", paramstyle="qmark"))
    connection.rollback()
    connection.close()
    async with chat.relaying(submit=server.submit):
        await server.until(1)
    assert [words for *_, words in server.said] == ["one"]
    sql, parameters = chat.enqueue_sql(message("one"), sender="shop")
    assert sql.count("%s") == len(parameters)
    with pytest.raises(Invalid, match="paramstyle"):
        chat.enqueue_sql(message("one"), sender="shop", paramstyle="named")  # type: ignore[arg-type]


async def test_what_passes_is_tried_again_and_what_is_refused_is_kept(chat: ChatOutbox, path: Path) -> None:
    engine, server = sqlite_engine(path), Server()
    server.errors = [Unavailable("restarting"), OSError("no route"), NotAMember("the shop has left")]
    async with chat.relaying(submit=server.submit):
        with engine.begin() as connection:
            chat.enqueue(connection, message("one", "a"), sender="shop", ref="1")
        await until(lambda: _letters(chat))
        with engine.begin() as connection:
            chat.enqueue(connection, message("two", "a"), sender="shop", ref="2")
        await server.until(1)
    assert [ref for _, ref, *_ in server.said] == ["2"]
    (letter,) = await _letters(chat)
    assert letter.reason.startswith(
        "chat_transaction.consumers.consumption.Unprocessable: not_a_member: the shop has left"
    )
    engine.dispose()


async def _letters(chat: ChatOutbox) -> Any:
    return await chat.database.read(lambda connection: connection.execute(select(tables.dead_letters)).all())


@pytest.mark.parametrize(
    ("request_", "arguments", "field"),
    [
        (message("x"), {"sender": "shop", "ref": "r" * 65}, "ref"),
        (message("x"), {"sender": "shop", "ref": ""}, "ref"),
        (message("x"), {}, "sender"),
        (SubmitMessage(conversation="no good", kind="text", body={}), {"sender": "shop"}, "request"),
        (SubmitMessage(conversation="c", kind="", body={}), {"sender": "shop"}, "request"),
    ],
)
async def test_bad_intents_are_refused_when_enqueued(
    chat: ChatOutbox, path: Path, request_: SubmitMessage, arguments: dict[str, Any], field: str
) -> None:
    engine = sqlite_engine(path)
    with engine.begin() as connection, pytest.raises(Invalid) as caught:
        chat.enqueue(connection, request_, **arguments)
    assert caught.value.field == field
    engine.dispose()


@frozen
class Invoice:
    order: int


async def test_ensured_functions_and_consumers(chat: ChatOutbox, path: Path) -> None:
    printed: list[int] = []

    @ensured("invoice", version=2)
    async def print_invoice(arguments: Invoice, key: str) -> None:
        printed.append(arguments.order)

    @consumer("paid", "books")
    def book(connection: Any, record: Any) -> None:
        connection.execute(text("INSERT INTO orders VALUES (:id)"), {"id": int(record.payload)})

    engine = sqlite_engine(path)
    async with chat.relaying(consumers=[book], ensured=[print_invoice]):
        with engine.begin() as connection:
            chat.enqueue(connection, print_invoice.entry(Invoice(7)))
            chat.enqueue(connection, entry("k", 8, topic="paid"))

        async def both() -> bool:
            with engine.connect() as connection:
                return printed == [7] and connection.execute(text("SELECT id FROM orders")).scalars().all() == [8]

        await until(both)
    engine.dispose()


async def test_an_effect_happens_once_however_often_its_record_comes(chat: ChatOutbox, path: Path) -> None:
    @consumer("paid", "books")
    def book(connection: Any, record: Any) -> None:
        connection.execute(text("INSERT INTO orders VALUES (NULL)"))
        if record.attempt == 1 and record.payload == b"fails":
            raise Conflict("not yet")

    record = book.on(chat.database)
    from chat_common.ports.broker import BrokerRecord

    await record.handler([BrokerRecord("paid", "k", b"", "1"), BrokerRecord("paid", "k", b"", "1")])
    await record.handler([BrokerRecord("paid", "k", b"", "1"), BrokerRecord("paid", "k", b"", "2")])
    with pytest.raises(Conflict):
        await record.handler([BrokerRecord("paid", "k", b"fails", "3")])
    await record.handler([BrokerRecord("paid", "k", b"fails", "3", attempt=2)])
    engine = sqlite_engine(path)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM orders")).scalar() == 3
    engine.dispose()


async def test_ensured_wants_typed_arguments() -> None:
    with pytest.raises(TypeError, match="must take"):

        @ensured("nothing")
        async def nothing(arguments, key):  # type: ignore[no-untyped-def]
            await asyncio.sleep(0)


@pytest.mark.parametrize("error", [StopIteration, GeneratorExit, ValueError])
async def test_an_effect_that_raises_anything_is_buried(
    open_shop: Callable[..., Shop], error: type[BaseException]
) -> None:
    seen: list[bytes] = []

    @consumer("sold", "books", attempts=2)
    def book(connection: Connection, record: BrokerRecord) -> None:
        if record.payload == b"bad":
            raise error
        seen.append(record.payload)

    shop = open_shop()
    chat = ChatOutbox(shop.engine, settings=QUICK)
    with shop.engine.begin() as connection:
        for payload in (b"bad", b"good"):
            chat.enqueue(connection, OutboxEntry("sold", "k", payload))
    async with chat.relaying(consumers=[book]):
        await until(lambda: _letters(chat))
        await shop.until_empty()
    (letter,) = await _letters(chat)
    assert error.__name__ in letter.reason
    assert seen == [b"good"]


async def test_an_engine_that_commits_by_itself_loses_no_effect(open_shop: Callable[..., Shop]) -> None:
    tried: list[str] = []

    @consumer("sold", "books")
    def book(connection: Connection, record: BrokerRecord) -> None:
        tried.append(record.id)
        if len(tried) < 3:
            raise ValueError("not yet")

    shop = open_shop()
    engine = create_engine(shop.engine.url, isolation_level="AUTOCOMMIT")
    chat = ChatOutbox(engine, settings=QUICK)
    with engine.begin() as connection:
        chat.enqueue(connection, OutboxEntry("sold", "k", b"x"))
    async with chat.relaying(consumers=[book]):
        await shop.until_empty()
    engine.dispose()
    assert len(tried) == 3


async def test_a_commit_does_not_fail_because_a_relay_has_ended(open_shop: Callable[..., Shop]) -> None:
    """A relay in a thread of its own, whose loop is closed between the enqueueing and the commit."""
    shop = open_shop()
    chat = ChatOutbox(shop.engine)

    def ended() -> None:
        raise RuntimeError("Event loop is closed")

    with shop.engine.connect() as connection:
        for _ in range(3):
            chat._wake = lambda: None
            chat.enqueue(connection, OutboxEntry("sold", "k", b"x"))
            chat._wake = ended
            connection.commit()
        assert len(list(connection.dispatch.commit)) == 1, "a listener for each message would be a leak"
    assert len(await shop.rows()) == 3
