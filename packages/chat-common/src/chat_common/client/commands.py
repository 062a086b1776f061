"""The commands that most programs need, as methods with typed results; everything else goes through `call`."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar, overload

import msgspec
from attrs import frozen

from chat_common.client.upload import upload
from chat_common.decoding import prepare
from chat_common.errors import Invalid
from chat_common.ports.files import FileFacts
from chat_common.wire import Inbox, Message, Receipt, SubmitMessage, User

R = TypeVar("R")


@frozen
class ReadState:
    """How far the user has read a conversation, and how many messages lie after that."""

    read: int
    unread: int


@frozen
class MessageHit:
    """A message that a search has found: ``text`` is one line of what it says, ``marks`` are [from, to) in it."""

    message: Message
    text: str
    marks: list[tuple[int, int]]


@frozen
class MessageHits:
    """Newest first. ``cursor``: for the next page; None: this was the last one."""

    hits: list[MessageHit]
    cursor: str | None = None


prepare(ReadState, MessageHits)


class Commands(abc.ABC):
    """Each method is one `call`: it raises the server's error as its class, and is done once however often it is
    repeated on the way."""

    @overload
    async def call(self, command: SubmitMessage, *, ref: str | None = None) -> Receipt: ...

    @overload
    async def call(self, command: str, params: Any = None, *, ref: str | None = None, reply: type[R]) -> R: ...

    @overload
    async def call(self, command: str, params: Any = None, *, ref: str | None = None) -> Any: ...

    async def call(self, command: Any, params: Any = None, *, ref: str | None = None, reply: Any = None) -> Any:
        """The command's result; raises the server's error as its class.

        ``params``: a mapping or a record. ``reply``: the record class of the result, such as `wire.Inbox`; without it
        the result is JSON's own types. A `SubmitMessage` alone is the command ``submit``, answered by its `Receipt`.

        Repeat a call of your own with the same ``ref`` to get the same result. Calls of one conversation's `submit`
        are carried out in the order they were made.
        """
        if isinstance(command, SubmitMessage):
            command, params, reply = "submit", command, Receipt
        elif not isinstance(command, str):
            message = f"command: a name or a SubmitMessage is needed, not {type(command).__name__}"
            raise Invalid(message, field="command")
        result = await self._call(command, params, ref)
        return result if reply is None else msgspec.convert(result, reply)

    @abc.abstractmethod
    async def _call(self, command: str, params: Any, ref: str | None) -> Any:
        """The command's result, as JSON's own types."""

    @property
    @abc.abstractmethod
    def address(self) -> str:
        """The server's ``http(s)://HOST:PORT``."""

    async def history(
        self, conversation: str, *, before: int | None = None, after: int | None = None, limit: int = 50
    ) -> list[Message]:
        """A page of messages, ascending; the newest page when neither bound is given. They join the copy."""
        bounds = {"before": before, "after": after}
        params = {name: value for name, value in bounds.items() if value is not None}
        result = await self.call("history", {"conversation": conversation, "limit": limit, **params})
        return msgspec.convert(result["messages"], list[Message])

    async def direct(self, user: str) -> Inbox:
        """The direct chat with this user id, opened when it is new."""
        return msgspec.convert(await self.call("direct.open", {"user": user}), Inbox)

    async def group(self, name: str, members: list[str]) -> Inbox:
        """A new group of these user ids, and mine."""
        return msgspec.convert(await self.call("group.create", {"name": name, "members": members}), Inbox)

    async def edit(self, conversation: str, seq: int, text: str | None = None, *, body: Any = None) -> Message:
        """Replace the text, or the ``body``, of one of my messages; the message as it is now."""
        what = {"text": text} if body is None else body
        params = {"conversation": conversation, "seq": seq, "body": what}
        return msgspec.convert(await self.call("message.edit", params), Message)

    async def recall(self, conversation: str, seq: int) -> Message:
        """Take a message back, for everybody."""
        return msgspec.convert(await self.call("message.recall", {"conversation": conversation, "seq": seq}), Message)

    async def react(self, conversation: str, seq: int, emoji: str, *, on: bool = True) -> Message:
        """Put my reaction to a message, or take it away."""
        params = {"conversation": conversation, "seq": seq, "emoji": emoji, "on": on}
        return msgspec.convert(await self.call("message.react", params), Message)

    async def read(self, conversation: str, seq: int) -> ReadState:
        """Everything up to ``seq`` is read. Forward only."""
        return msgspec.convert(await self.call("read", {"conversation": conversation, "seq": seq}), ReadState)

    async def search(self, query: str, *, limit: int = 50) -> list[User]:
        """Users whose name begins so."""
        return msgspec.convert((await self.call("user.search", {"query": query, "limit": limit}))["users"], list[User])

    async def search_messages(
        self,
        query: str | None = None,
        *,
        conversation: str | None = None,
        sender: str | None = None,
        kinds: Sequence[str] | None = None,
        since: int | None = None,
        until: int | None = None,
        cursor: str | None = None,
        limit: int = 20,
    ) -> MessageHits:
        """Messages with all of these words, newest first, in one conversation or in all of mine. ``since``, ``until``:
        ms since 1970, the second exclusive. Raises `Unavailable` where the server indexes nothing."""
        asked = {
            "query": query,
            "conversation": conversation,
            "sender": sender,
            "kinds": kinds,
            "since": since,
            "until": until,
            "cursor": cursor,
            "limit": limit,
        }
        params = {name: value for name, value in asked.items() if value is not None}
        return msgspec.convert(await self.call("message.search", params), MessageHits)

    async def upload(self, conversation: str, content: Path | bytes, *, name: str, type: str) -> FileFacts:
        """Upload a file for one message of this conversation; then `submit` a message with its ``file`` id.

        ``type`` is a media type, which the server compares with the content. Large files go in parts, which are read
        from the path one after the other. Raises `Unavailable` when the storage does not take it.
        """
        return await upload(self.call, self.address, conversation, content, name, type)
