"""What is wrong is said when it is enqueued, with field and limit, and before anything is written."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen
from chat_common.clock import SystemClock
from chat_common.errors import Invalid
from chat_common.ports.outbox import DELAY_LIMIT, KEY_LIMIT, PAYLOAD_LIMIT, TOPIC_LIMIT, OutboxEntry
from chat_common.wire import SubmitMessage
from chat_transaction import ChatOutbox, EnsuredFunction, ensured
from chat_transaction.consumers.inbox import forget
from chat_transaction.sql import tables
from chat_transaction.sql.outbox import SqlOutbox
from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncSession, async_scoped_session, async_sessionmaker, create_async_engine
from sqlalchemy.orm import scoped_session, sessionmaker

from tests.chat_transaction.conftest import Shop, entry, sqlite_engine, until

NAN, INFINITY = float("nan"), float("inf")


@frozen
class Parcel:
    name: str = ""
    weight: float = 0.0
    sizes: tuple[float | None, ...] = ()


async def deliver(arguments: Parcel, key: str) -> None:
    raise AssertionError("never runs here")


def function() -> EnsuredFunction[Parcel]:
    return ensured("deliver")(deliver)


def message(text: object = "x") -> SubmitMessage:
    return SubmitMessage(conversation="c1", kind="text", body={"text": text})


@pytest.fixture
async def chat(tmp_path: Path) -> AsyncIterator[ChatOutbox]:
    engine = sqlite_engine(tmp_path / "shop.db")
    chat = ChatOutbox(engine)
    await chat.create_tables()
    yield chat
    engine.dispose()


@pytest.mark.parametrize("delay", [NAN, INFINITY, -INFINITY, -0.001, DELAY_LIMIT + 1])
@pytest.mark.parametrize(
    "enqueue",
    [
        lambda chat, delay: chat.enqueue_sql(OutboxEntry("t", "k", b"", delay)),
        lambda chat, delay: function().entry(Parcel(), delay=delay),
        lambda chat, delay: chat.enqueue_sql(message(), sender="shop", delay=delay),
    ],
)
async def test_a_delay_that_never_ends_or_lies_behind(
    chat: ChatOutbox, enqueue: Callable[[ChatOutbox, float], Any], delay: float
) -> None:
    with pytest.raises(Invalid, match=rf"delay is .* 0 to {DELAY_LIMIT} s") as caught:
        enqueue(chat, delay)
    assert (caught.value.field, caught.value.limit) == ("delay", DELAY_LIMIT)


@pytest.mark.parametrize(
    ("wrong", "field", "limit"),
    [
        (OutboxEntry("", "k", b""), "topic", TOPIC_LIMIT),
        (OutboxEntry("t" * (TOPIC_LIMIT + 1), "k", b""), "topic", TOPIC_LIMIT),
        (OutboxEntry("t\0", "k", b""), "topic", None),
        (OutboxEntry("t", "", b""), "key", KEY_LIMIT),
        (OutboxEntry("t", "k" * (KEY_LIMIT + 1), b""), "key", KEY_LIMIT),
        (OutboxEntry("t", "k\0", b""), "key", None),
        (OutboxEntry("t", "\ud800", b""), "key", None),
        (OutboxEntry("t", "k", "text"), "payload", None),  # type: ignore[arg-type]
        (OutboxEntry("t", "k", b"x" * (PAYLOAD_LIMIT + 1)), "payload", PAYLOAD_LIMIT),
    ],
)
async def test_an_entry_that_cannot_be_written(
    chat: ChatOutbox, tmp_path: Path, wrong: OutboxEntry, field: str, limit: int | None
) -> None:
    engine = sqlite_engine(tmp_path / "shop.db")
    with engine.begin() as connection:
        with pytest.raises(Invalid, match=field) as caught:
            chat.enqueue(connection, wrong)
        with pytest.raises(Invalid, match=field):  # also where the server and its plugins write, and with a good one
            SqlOutbox(SystemClock()).write(connection, [OutboxEntry("t", "k", b""), wrong])
        assert not connection.execute(select(tables.outbox)).all()
    assert (caught.value.field, caught.value.limit) == (field, limit)
    engine.dispose()


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        (Parcel(weight=INFINITY), "arguments.weight"),
        (Parcel(weight=NAN), "arguments.weight"),
        (Parcel(sizes=(1.0, None, -INFINITY)), "arguments.sizes[2]"),
        (Parcel(name="\ud800"), "arguments"),
    ],
)
def test_arguments_that_json_cannot_say(arguments: Parcel, field: str) -> None:
    with pytest.raises(Invalid, match="arguments") as caught:
        function().entry(arguments)
    assert caught.value.field == field


async def test_the_largest_payload_is_written_and_what_is_larger_is_named(chat: ChatOutbox, tmp_path: Path) -> None:
    largest = OutboxEntry("t" * TOPIC_LIMIT, "k" * KEY_LIMIT, b"x" * PAYLOAD_LIMIT, DELAY_LIMIT)
    engine = sqlite_engine(tmp_path / "shop.db")
    with engine.begin() as connection:
        chat.enqueue(connection, largest)
        assert connection.execute(select(tables.outbox.c.payload)).scalars().all() == [largest.payload]
    engine.dispose()
    for too_large in (
        lambda: function().entry(Parcel("x" * PAYLOAD_LIMIT)),
        lambda: chat.enqueue_sql(message("x" * PAYLOAD_LIMIT), sender="shop"),
    ):
        with pytest.raises(Invalid, match=rf"payload has \d+ bytes; at most {PAYLOAD_LIMIT} are") as caught:
            too_large()
        assert (caught.value.field, caught.value.limit) == ("payload", PAYLOAD_LIMIT)


@pytest.mark.parametrize("key", ["k" * (KEY_LIMIT + 1), "a\0"])
def test_keys_of_ensured_calls(key: str) -> None:
    with pytest.raises(Invalid) as caught:
        function().entry(Parcel(), key=key)
    assert caught.value.field == "key"


@pytest.mark.parametrize(
    ("request_", "arguments", "field"),
    [
        (message(INFINITY), {}, "intent.request.body.text"),
        (message("\ud800"), {}, "intent"),
        (message(), {"sender": "a\0"}, "sender"),
        (message(), {"sender": "a" * 256}, "sender"),
        (message(), {"ref": "\udfff"}, "ref"),
    ],
)
async def test_messages_that_cannot_be_said(
    chat: ChatOutbox, request_: SubmitMessage, arguments: dict[str, Any], field: str
) -> None:
    with pytest.raises(Invalid) as caught:
        chat.enqueue_sql(request_, **{"sender": "shop", **arguments})
    assert caught.value.field == field


async def test_calls_without_a_key_stand_by_themselves(chat: ChatOutbox, tmp_path: Path) -> None:
    """Two calls with the same arguments are two, and one that fails keeps no other waiting."""
    ran: list[tuple[str, str]] = []

    @ensured("mail")
    async def mail(arguments: Parcel, key: str) -> None:
        if arguments.name == "bad":
            raise OSError("no route")
        ran.append((arguments.name, key))

    entries = [mail.entry(Parcel(name)) for name in ("bad", "good", "good")]
    assert len({each.key for each in entries}) == 3
    assert [mail.entry(Parcel("x"), key="k").key for _ in range(2)] == ["k", "k"]
    engine = sqlite_engine(tmp_path / "shop.db")
    async with chat.relaying(ensured=[mail]):
        with engine.begin() as connection:
            for each in entries:
                chat.enqueue(connection, each)

        async def both() -> bool:
            return len(ran) == 2

        await until(both)
    assert [name for name, _ in ran] == ["good", "good"]
    assert len({key for _, key in ran}) == 2, "each call has an idempotency key of its own"
    engine.dispose()


async def test_scoped_sessions(tmp_path: Path) -> None:
    engine = sqlite_engine(tmp_path / "shop.db")
    chat = ChatOutbox(engine)
    await chat.create_tables()
    session = scoped_session(sessionmaker(engine))
    chat.enqueue(session, entry("k", "kept"))
    session.commit()
    chat.enqueue(session, entry("k", "never"))
    session.rollback()
    session.remove()
    other = create_async_engine(f"sqlite+aiosqlite:///{tmp_path / 'shop.db'}")
    asynchronous: async_scoped_session[AsyncSession] = async_scoped_session(
        async_sessionmaker(other), scopefunc=asyncio.current_task
    )
    await ChatOutbox(other).enqueue(asynchronous, entry("k", "kept too"))
    await asynchronous.commit()
    await asynchronous.remove()
    with engine.connect() as connection:
        assert connection.execute(select(tables.outbox.c.payload)).scalars().all() == [b"kept", b"kept too"]
    engine.dispose()
    await other.dispose()


def _notes(*uids: tuple[str, int], group: str = "books") -> Callable[[Any], Any]:
    rows = [{"group": group, "uid": uid, "handled_at": at} for uid, at in uids]
    return lambda connection: connection.execute(insert(tables.inbox), rows)


async def test_old_notes_are_forgotten_but_those_whose_row_may_come_again(shop: Shop) -> None:
    (token,) = await shop.write(entry("k", "not deleted yet"), report=False)
    await shop.database.change(_notes(*((f"old-{number}", 10) for number in range(2_500)), ("young", 2_000)))
    await shop.database.change(_notes((token.record.id, 10), ("old-0", 10), group="mail"))

    def age(connection: Any) -> None:
        connection.execute(tables.outbox.update().values(created_at=5))

    await shop.database.change(age)
    assert await forget(shop.database, 1_000) == 2_501
    assert {row.uid for row in await shop.rows(tables.inbox)} == {"young", token.record.id}


async def test_the_relay_forgets_by_itself(shop: Shop) -> None:
    now = shop.clock.wall_ms()
    await shop.database.change(_notes(("old", now - 7_201_000), ("young", now - 7_000_000)))

    async def forgotten() -> bool:
        return [row.uid for row in await shop.rows(tables.inbox)] == ["young"]

    async with shop.relaying(inbox_retention=7_200.0):
        await until(forgotten)
