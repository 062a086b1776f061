"""A chat client for the terminal: one line in, one line out, so that people and programs can use it alike.

python examples/terminal/terminal.py http://127.0.0.1:8080 --name ann
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

from chat_common.client import (
    ChatClient,
    Disconnected,
    Ended,
    MessageChanged,
    MessageReceived,
    MessageRefused,
    SendQueue,
    Welcomed,
    dev_login,
)
from chat_common.errors import ChatError
from chat_common.wire import Inbox, Message, User
from msgspec import UNSET

HELP = """\
/list                  my conversations, the latest first
/chat NAME             open the direct chat with a user
/group TITLE NAME...   make a group of these users and open it
/open N                open conversation N of the list
/history [N]           the last N messages of the open conversation
/quit                  leave
anything else          is said in the open conversation"""


class Terminal:
    """What is typed becomes commands, what happens becomes lines."""

    def __init__(self, client: ChatClient) -> None:
        self.client = client
        self.open: str | None = None
        self.listed: list[Inbox] = []
        self.sending: set[asyncio.Task[object]] = set()
        self.commands: dict[str, Callable[[list[str]], Awaitable[None]]] = {
            "/list": self.overview,
            "/chat": self.chat,
            "/group": self.group,
            "/open": self.choose,
            "/history": self.history,
            "/help": self.help,
        }

    async def run(self, lines: asyncio.StreamReader) -> None:
        """Until the input ends, or the session does."""
        shown = asyncio.create_task(self.show())
        typed = asyncio.create_task(self.read(lines))
        await asyncio.wait({shown, typed}, return_when=asyncio.FIRST_COMPLETED)
        if self.sending and not self.client.session.ending:
            await asyncio.wait(self.sending, timeout=5)
        for task in (shown, typed):
            task.cancel()

    async def read(self, lines: asyncio.StreamReader) -> None:
        while line := (await lines.readline()).decode().strip("\n"):
            word, *rest = line.split() or [""]
            if word == "/quit":
                return
            try:
                if word in self.commands:
                    await self.commands[word](rest)
                elif word.startswith("/"):
                    say(f"there is no {word}; /help lists what there is")
                elif self.open is None:
                    say("no conversation is open: /chat NAME, or /list and /open N")
                else:
                    self.later(self.client.submit(self.open, line))
            except ChatError as error:
                say(f"! {error.code}: {error.message}")

    def later(self, work: Awaitable[object]) -> None:
        """Sending goes on in the background, also while there is no connection; a refusal is told as an event."""
        task = asyncio.ensure_future(work)
        self.sending.add(task)
        task.add_done_callback(self.done)

    def done(self, task: asyncio.Task[object]) -> None:
        self.sending.discard(task)
        if not task.cancelled():
            task.exception()

    # --- what can be typed ----------------------------------------------------------------------------------------

    async def help(self, words: list[str]) -> None:
        say(HELP)

    async def overview(self, words: list[str]) -> None:
        self.listed = self.client.state.inbox()
        for number, row in enumerate(self.listed, 1):
            unread = f" ({row.unread} unread)" if row.unread else ""
            say(f"{number}. {title(row)}{unread}")
        if not self.listed:
            say("no conversations yet: /chat NAME")

    async def chat(self, words: list[str]) -> None:
        user = await self.find(" ".join(words))
        if user is not None:
            await self.enter(await self.client.direct(user.user))

    async def group(self, words: list[str]) -> None:
        if len(words) < 2:
            say("/group TITLE NAME...")
            return
        users = [await self.find(name) for name in words[1:]]
        if None not in users:
            await self.enter(await self.client.group(words[0], [user.user for user in users if user is not None]))

    async def choose(self, words: list[str]) -> None:
        number = int(words[0]) if words and words[0].isdigit() else 0
        if not 1 <= number <= len(self.listed):
            say("/open N, where N is a number of the /list")
            return
        await self.enter(self.listed[number - 1])

    async def enter(self, row: Inbox) -> None:
        self.open = row.conversation
        say(f"* in {title(row)}")
        if row.unread:
            await self.history([str(min(row.unread, 20))])

    async def history(self, words: list[str]) -> None:
        if self.open is None:
            say("no conversation is open")
            return
        limit = int(words[0]) if words and words[0].isdigit() else 20
        for message in await self.client.history(self.open, limit=min(max(limit, 1), 100)):
            await self.put(message)

    async def find(self, name: str) -> User | None:
        found = await self.client.call("user.search", {"query": name, "limit": 100}) if name else {"users": []}
        for user in found["users"]:
            if name in (user["name"], user["user"]):
                return User(user=user["user"], name=user["name"])
        say(f"there is no user {name!r}")
        return None

    # --- what happens -----------------------------------------------------------------------------------------------

    async def show(self) -> None:
        async for event in self.client.events():
            match event:
                case Welcomed(welcome):
                    say("* connected" + (" again" if welcome.resumed else ""))
                case Disconnected():
                    say("* connection lost, trying again")
                case MessageReceived(message):
                    await self.put(message)
                    if message.conversation == self.open:
                        self.later(self.client.call("read", {"conversation": self.open, "seq": message.seq}))
                case MessageChanged(message) if message.recalled is not UNSET or message.edited_at is not UNSET:
                    await self.put(message)
                case MessageRefused(outgoing, error):
                    say(f"! not sent ({error.code}: {error.message}): {outgoing.body.get('text', '')}")
                case Ended(reason=reason):
                    say(f"* the server has ended this session: {reason}")

    async def put(self, message: Message) -> None:
        room = self.client.state.rooms.get(message.conversation)
        where = title(room.inbox) if room is not None and room.inbox is not None else message.conversation
        say(f"[{where}] {await self.name(message.sender)}: {text(message)}")

    async def name(self, user: str) -> str:
        if user not in self.client.state.users:
            try:
                found = await self.client.call("user.get", {"users": [user]})
            except ChatError:
                return user
            for each in found["users"]:
                self.client.state.put_user(User(user=each["user"], name=each["name"]))
        known = self.client.state.users.get(user)
        return known.name if known is not None else user


def title(row: Inbox) -> str:
    if row.peer is not UNSET:
        return row.peer.name
    return row.name if row.name is not UNSET else row.conversation


def text(message: Message) -> str:
    if message.recalled is not UNSET:
        return "(taken back)"
    body = message.body if isinstance(message.body, dict) else {}
    if message.kind == "system":
        return f"({body.get('event', 'system')})"
    return str(body.get("text", f"({message.kind})")) + (" (edited)" if message.edited_at is not UNSET else "")


def say(line: str) -> None:
    print(line, flush=True)


async def stdin() -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    return reader


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url", nargs="?", default="http://127.0.0.1:8080")
    parser.add_argument("--name", required=True, help="log in under this name (the server runs with --dev)")
    parser.add_argument("--queue", type=Path, help="keep unsent messages in this file")
    options = parser.parse_args()
    login = await dev_login(options.url, options.name)
    async with ChatClient(options.url, login.token, queue=SendQueue(options.queue)) as client:
        say(f"* you are {login.user.name}; /help lists what can be typed")
        await Terminal(client).run(await stdin())


if __name__ == "__main__":
    asyncio.run(main())
