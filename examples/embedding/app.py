"""A FastAPI application with the chat mounted in it: `uvicorn --app-dir examples/embedding app:app`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from chat_server import Server
from fastapi import FastAPI, HTTPException
from pydantic import BaseModel

chat = Server(settings={"server": {"data": "chat-data"}})


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with chat:
        app.mount("/chat", chat.app)
        yield


app = FastAPI(lifespan=lifespan)
ACCOUNTS = {"ann-session": "ann", "bob-session": "bob"}


def account(session: str) -> str:
    """The application's own way of knowing who is calling; here a table."""
    if session not in ACCOUNTS:
        raise HTTPException(401)
    return ACCOUNTS[session]


@app.post("/chat-token")
async def chat_token(session: str) -> dict[str, str]:
    """A token for the chat, for somebody whom the application has logged in: no second login."""
    user = await chat.ensure_user(account(session))
    return {"user": user.user, "token": await chat.issue_token(user.user)}


class Order(BaseModel):
    session: str
    seller: str
    item: str


@app.post("/orders")
async def order(new: Order) -> dict[str, int]:
    """The application's code speaks in the chat: the seller hears of the order, once, even if this is repeated."""
    buyer = await chat.ensure_user(account(new.session))
    seller = await chat.ensure_user(new.seller)
    talk = await chat.call("direct.open", {"user": seller.user}, user=buyer.user)
    receipt = await chat.call(
        "submit",
        {"conversation": talk.conversation, "kind": "text", "body": {"text": f"I would like to buy: {new.item}"}},
        user=buyer.user,
        ref=f"order-{new.session}-{new.item}",
    )
    return {"seq": receipt.seq}
