"""A shop on FastAPI and SQLAlchemy, with the chat mounted in it: `uvicorn --app-dir examples/shop fastapi_shop:app`."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from chat_common.records import Caller
from chat_common.wire import SubmitMessage
from chat_server import Server
from chat_transaction import ChatOutbox, create_tables
from fastapi import FastAPI, HTTPException
from sqlalchemy import Column, Integer, MetaData, String, Table, create_engine, event, insert, select

engine = create_engine(f"sqlite:///{os.environ.get('SHOP_DATABASE', 'shop.db')}")
metadata = MetaData()
orders = Table(
    "orders", metadata, Column("id", Integer, primary_key=True), Column("buyer", String), Column("item", String)
)

chat = Server(settings={"server": {"data": os.environ.get("CHAT_DATA", "chat-data")}})
outbox = ChatOutbox(engine)


@event.listens_for(engine, "connect")
def _readers_and_a_writer(connection: Any, _: Any) -> None:
    connection.execute("PRAGMA journal_mode=WAL")


async def submit(caller: Caller, message: SubmitMessage) -> None:
    """How the relay says a message: here in process. Its ref makes it happen once, however often this is called."""
    await chat.call(message, user=caller.user, ref=caller.ref)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    metadata.create_all(engine)
    create_tables(engine)
    async with chat, outbox.relaying(submit=submit):
        yield


app = FastAPI(lifespan=lifespan)
app.mount("/chat", chat.app)


async def talk_with(buyer: str) -> tuple[str, str]:
    """The shop's user in the chat, and its conversation with this customer."""
    shop, customer = await chat.ensure_user("shop", "The shop"), await chat.ensure_user(buyer)
    return shop.user, (await chat.call("direct.open", {"user": customer.user}, user=shop.user)).conversation


@app.post("/orders")
async def place_order(buyer: str, item: str, card: str) -> dict[str, int]:
    """The order and the message about it, in one transaction."""
    shop, conversation = await talk_with(buyer)
    with engine.begin() as connection:
        (order,) = connection.execute(insert(orders).values(buyer=buyer, item=item)).inserted_primary_key or (0,)
        words = {"text": f"Your order {order} ({item}) is on its way."}
        message = SubmitMessage(conversation=conversation, kind="text", body=words)
        outbox.enqueue(connection, message, sender=shop, ref=f"order-{order}")
        if card == "declined":
            raise HTTPException(402, "the card was declined")  # leaves the block: nothing of it has happened
    return {"order": order}


@app.get("/orders")
def list_orders() -> list[dict[str, Any]]:
    with engine.connect() as connection:
        return [dict(row._mapping) for row in connection.execute(select(orders))]


@app.get("/messages")
async def messages(buyer: str) -> list[str]:
    """What the shop has said to this customer."""
    shop, conversation = await talk_with(buyer)
    page = await chat.call("history", {"conversation": conversation}, user=shop)
    return [message.body["text"] for message in page.messages]
