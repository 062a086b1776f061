"""Bots: functions that answer messages and commands, on top of `ChatClient`.

::

    bot = Bot()

    @bot.command("roll", about="a number from 1 to 6")
    async def roll(context: Context) -> None:
        await context.reply(str(random.randint(1, 6)))

    @bot.message(lambda message: message.kind == "image")
    async def admire(context: Context) -> None:
        await context.react("👍")

    await bot.run("http://127.0.0.1:8080", token)
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from attrs import define, field

from chat_common.client import ChatClient, InboxChanged, MessageReceived
from chat_common.errors import ChatError, RefConflict
from chat_common.wire import Message, Receipt

logger = logging.getLogger(__name__)

AT_ONCE = 16
"""Conversations whose messages are handled at the same time."""
CATCH_UP = 1_000
"""Messages of a conversation that are handled afterwards when the bot was away; older ones are left out."""
WAITING = 1_000
"""Messages that may wait to be handled; while there are more, the client's own queue fills."""


@define
class Context:
    """One message that a handler was called for. ``command`` and ``words``: ``/roll 2 6`` → ``roll``, ``[2, 6]``."""

    client: ChatClient
    message: Message
    command: str = ""
    words: list[str] = field(factory=list)
    _replies: int = 0

    async def reply(self, text: str | None = None, *, kind: str = "text", body: Any = None) -> Receipt | None:
        """Answer in the conversation, quoting the message.

        The first, second … reply to a message is sent once, however often the bot dies and handles the message again.
        None when it was sent in an earlier life with other words.
        """
        self._replies += 1
        name = f"bot {self.message.conversation} {self.message.seq} {self._replies}"
        ref = hashlib.sha256(name.encode()).hexdigest()[:32]
        where, seq = self.message.conversation, self.message.seq
        try:
            return await self.client.submit(where, text, kind=kind, body=body, reply_to=seq, ref=ref)
        except RefConflict:
            return None

    async def react(self, emoji: str) -> None:
        """Put the bot's reaction to the message."""
        await self.client.react(self.message.conversation, self.message.seq, emoji)


Handler = Callable[[Context], Awaitable[None]]
Filter = Callable[[Message], bool]
Middleware = Callable[[Context, Handler], Awaitable[None]]
ErrorHandler = Callable[[Context, Exception], Awaitable[None]]


@define
class _Missed:
    """Messages after ``after`` up to ``upto`` that no event tells: the bot was away, and has spoken since they came."""

    conversation: str
    after: int
    upto: int


@define
class _Command:
    handler: Handler
    about: str


class Bot:
    """Handlers of messages. The first one that fits is called, commands before others; the bot's own messages and the
    server's are left out.

    Messages of one conversation are handled one after the other, of several side by side. A message is marked as read
    once it was handled, or has failed, so a bot that was away or was killed goes on with what is unread; what it was
    just doing then, it does again.
    """

    def __init__(self, *, prefix: str = "/") -> None:
        self._prefix = prefix
        self._commands: dict[str, _Command] = {}
        self._messages: list[tuple[Filter, Handler]] = []
        self._middleware: list[Middleware] = []
        self._error: ErrorHandler | None = None

    def command(self, name: str, *, about: str = "") -> Callable[[Handler], Handler]:
        """Call the function for texts that begin with ``/name``."""

        def put(handler: Handler) -> Handler:
            if name in self._commands:
                raise ValueError(f"the command {name!r} has a handler already")
            self._commands[name] = _Command(handler, about)
            return handler

        return put

    def message(self, fits: Filter = lambda message: True) -> Callable[[Handler], Handler]:
        """Call the function for messages that ``fits`` accepts and that are not commands."""

        def put(handler: Handler) -> Handler:
            self._messages.append((fits, handler))
            return handler

        return put

    def middleware(self, function: Middleware) -> Middleware:
        """Call ``function(context, proceed)`` around each handler, the first one outermost."""
        self._middleware.append(function)
        return function

    def error(self, function: ErrorHandler) -> ErrorHandler:
        """Call ``function(context, error)`` when a handler fails; without one the error is logged."""
        self._error = function
        return function

    def help(self) -> str:
        """A line for each command."""
        return "\n".join(f"{self._prefix}{name}: {it.about}".rstrip(": ") for name, it in self._commands.items())

    async def run(self, url: str, token: str, **options: Any) -> None:
        """Serve until the session ends for good. ``options`` as for `ChatClient`."""
        await self.serve(ChatClient(url, token, **options))

    async def serve(self, client: ChatClient) -> None:
        """`run` with a client that was not entered yet."""
        events = client.events()  # from before the first connection, so that what was said meanwhile is heard
        lines = _Lines(lambda entry: self._take(client, entry))
        known: set[str] = set()
        async with client:
            try:
                async for event in events:
                    if isinstance(event, MessageReceived):
                        await lines.put(event.message)
                    elif isinstance(event, InboxChanged) and event.inbox.conversation not in known:
                        # What a client counts as unread ends at its own last message; what was handled is what the
                        # bot has marked as read. A conversation's row is told before its messages.
                        row = event.inbox
                        known.add(row.conversation)
                        upto = row.head.seq - row.unread
                        after = max(row.read, row.first_seq - 1, upto - CATCH_UP)
                        if after < upto:
                            await lines.put(_Missed(row.conversation, after, upto))
            finally:
                await lines.close()

    async def _take(self, client: ChatClient, entry: Message | _Missed) -> None:
        if isinstance(entry, Message):
            await self._handle(client, entry)
            return
        while entry.after < entry.upto:
            try:
                page = await client.history(entry.conversation, after=entry.after, limit=100)
            except ChatError as error:
                logger.warning("what was missed in %s cannot be read: %s", entry.conversation, error.code)
                return
            for message in page:
                if message.seq <= entry.upto:
                    await self._handle(client, message)
            entry.after = page[-1].seq if page else entry.upto

    async def _handle(self, client: ChatClient, message: Message) -> None:
        me = client.state.me
        if message.kind != "system" and (me is None or message.sender != me.user):
            context = self._context(client, message)
            if (handler := self._handler(context)) is not None:
                await self._call(context, handler)
        try:
            await client.read(message.conversation, message.seq)
        except ChatError as error:
            logger.debug("%s/%d cannot be marked as read: %s", message.conversation, message.seq, error.code)

    def _context(self, client: ChatClient, message: Message) -> Context:
        text = message.body.get("text") if message.kind == "text" and isinstance(message.body, dict) else None
        if isinstance(text, str) and text.startswith(self._prefix) and (words := text[len(self._prefix) :].split()):
            return Context(client, message, words[0], words[1:])
        return Context(client, message)

    def _handler(self, context: Context) -> Handler | None:
        if context.command in self._commands:
            return self._commands[context.command].handler
        return next((handler for fits, handler in self._messages if fits(context.message)), None)

    async def _call(self, context: Context, handler: Handler) -> None:
        for middleware in reversed(self._middleware):
            handler = _around(middleware, handler)
        try:
            await handler(context)
        except Exception as error:
            where = f"{context.message.conversation}/{context.message.seq}"
            if self._error is None:
                logger.exception("a handler failed at %s", where)
                return
            try:
                await self._error(context, error)
            except Exception:
                logger.exception("the error handler failed at %s", where)


def _around(middleware: Middleware, handler: Handler) -> Handler:
    return lambda context: middleware(context, handler)


class _Lines:
    """One line of messages a conversation; some lines move at the same time."""

    def __init__(self, handle: Callable[[Message | _Missed], Awaitable[None]]) -> None:
        self._handle = handle
        self._waiting: dict[str, deque[Message | _Missed]] = {}
        self._moving = asyncio.Semaphore(AT_ONCE)
        self._room = asyncio.Semaphore(WAITING)
        self._tasks: set[asyncio.Task[None]] = set()

    async def put(self, entry: Message | _Missed) -> None:
        await self._room.acquire()
        line = self._waiting.get(entry.conversation)
        if line is not None:
            line.append(entry)
            return
        self._waiting[entry.conversation] = deque([entry])
        task = asyncio.create_task(self._move(entry.conversation), name="chat-bot")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _move(self, conversation: str) -> None:
        line = self._waiting[conversation]
        async with self._moving:
            while line:
                try:
                    await self._handle(line.popleft())
                finally:
                    self._room.release()
        del self._waiting[conversation]  # nobody can have put anything since the line was empty

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
