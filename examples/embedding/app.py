"""A FastAPI application with the chat mounted in it: `uvicorn --app-dir examples/embedding app:app`."""

from __future__ import annotations

from typing import Annotated

from chat_common.wire import SubmitMessage
from chat_server import Person, Server
from fastapi import Depends, FastAPI, HTTPException
from pydantic import BaseModel
from starlette.requests import HTTPConnection

SESSIONS = {"ann-session": Person("42", "Ann"), "bob-session": Person("43", "Bob")}


def who_is(request: HTTPConnection) -> Person | None:
    """The application's own way of knowing who is calling: here a cookie and a table."""
    return SESSIONS.get(request.cookies.get("session", ""))


chat = Server(settings={"server": {"data": "chat-data"}}, identify=who_is)
app = FastAPI(lifespan=chat.lifespan)
app.mount("/chat", chat.app)


async def caller(request: HTTPConnection) -> str:
    """The chat's user who sends this request to the application."""
    person = who_is(request)
    if person is None:
        raise HTTPException(401)
    return (await chat.ensure_user(person.subject, person.name)).user


class Order(BaseModel):
    number: int
    seller: str
    item: str


@app.post("/orders")
async def order(new: Order, buyer: Annotated[str, Depends(caller)]) -> dict[str, int]:
    """The application's code speaks in the chat: the seller hears of the order, once, even if this is repeated."""
    seller = await chat.ensure_user(new.seller)
    talk = await chat.call("direct.open", {"user": seller.user}, user=buyer)
    words = {"text": f"I would like to buy: {new.item}"}
    message = SubmitMessage(conversation=talk.conversation, kind="text", body=words)
    return {"seq": (await chat.submit(message, user=buyer, ref=f"order-{new.number}")).seq}


@app.post("/chat-token")
async def chat_token(user: Annotated[str, Depends(caller)]) -> dict[str, str]:
    """A token for a client that sends no cookies: a phone, a program."""
    return {"user": user, "token": await chat.issue_token(user)}
