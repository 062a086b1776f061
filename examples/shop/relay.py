"""The process beside the Django shop: reads the intents in the shop's database and says them to the chat over HTTP.

`python examples/shop/relay.py meet ann` makes ann a customer (opens the shop's conversation with her);
`python examples/shop/relay.py` carries intents out until it is ended. Several may run: they share the work.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from typing import Any

import httpx2
import msgspec
from chat_common.errors import Unavailable, error_types
from chat_common.records import Caller
from chat_common.wire import SubmitMessage
from chat_transaction import ChatOutbox
from sqlalchemy import create_engine, event, text

engine = create_engine(f"sqlite:///{os.environ.get('SHOP_DATABASE', 'shop.db')}")
URL = os.environ.get("CHAT_URL", "http://127.0.0.1:8080")


@event.listens_for(engine, "connect")
def _readers_and_a_writer(connection: Any, _: Any) -> None:
    connection.execute("PRAGMA journal_mode=WAL")


class ChatOverHttp:
    """The chat's commands over HTTP, as the shop's user."""

    def __init__(self) -> None:
        self._client = httpx2.AsyncClient(base_url=URL, timeout=10)
        self._token = ""
        self.user = ""

    async def log_in(self, name: str) -> str:
        """`auth.dev` is for development; a real shop would keep a token of its user."""
        found = await self.call("auth.dev", {"name": name})
        if name == "shop":
            self._token, self.user = found["token"], found["user"]["user"]
        return str(found["user"]["user"])

    async def call(self, command: str, params: Any, ref: str = "") -> Any:
        headers = {"Idempotency-Key": ref} if ref else {}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        try:
            answer = await self._client.post(f"/api/{command}", json=params, headers=headers)
        except httpx2.HTTPError as error:
            raise Unavailable(f"the chat does not answer: {error}") from error
        body = answer.json()
        if answer.status_code >= 400:
            raise error_types().get(body["code"], Unavailable)(body["message"])
        return body

    async def submit(self, caller: Caller, message: SubmitMessage) -> None:
        """How the relay says a message. The ref makes it happen once, though an answer may get lost on the way."""
        await self.call("submit", msgspec.to_builtins(message), caller.ref)


async def main(words: list[str]) -> None:
    outbox = ChatOutbox(engine)
    await outbox.create_tables()
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE IF NOT EXISTS orders (id INTEGER PRIMARY KEY, buyer TEXT, item TEXT)"))
        connection.execute(
            text("CREATE TABLE IF NOT EXISTS customers (name TEXT PRIMARY KEY, shop TEXT, conversation TEXT)")
        )
    chat = ChatOverHttp()
    await chat.log_in("shop")
    if words[:1] == ["meet"]:
        customer = await chat.log_in(words[1])
        talk = await chat.call("direct.open", {"user": customer})
        with engine.begin() as connection:
            values = {"name": words[1], "shop": chat.user, "conversation": talk["conversation"]}
            connection.execute(text("INSERT OR REPLACE INTO customers VALUES (:name, :shop, :conversation)"), values)
        print(f"{words[1]} is a customer")
        return
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    async with outbox.relaying(submit=chat.submit):
        print("relaying")
        await ended.wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
