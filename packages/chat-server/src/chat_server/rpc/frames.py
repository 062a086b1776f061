"""What travels between two nodes: msgpack arrays, to which a later release may append fields."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from chat_common.errors import ChatError, Unavailable, error_types

METHOD = "/chat.Rpc/Turns"
"""One stream for each direction of calling; a message is what one loop turn has brought together."""
SECRET = "chat-secret"


class Call(msgspec.Struct, array_like=True):
    """``number`` is the caller's own; ``deadline`` is in seconds from its arrival, because clocks differ."""

    number: int
    service: str
    method: str
    deadline: float
    record: bytes

    @property
    def size(self) -> int:
        """Bytes in a message, at most."""
        return len(self.record) + 4 * (len(self.service) + len(self.method)) + 40


class Calls(msgspec.Struct, array_like=True):
    calls: list[Call] = msgspec.field(default_factory=list)
    cancelled: list[int] = msgspec.field(default_factory=list)


class Answer(msgspec.Struct, array_like=True):
    """``error``: as `error_body` says; then there is no record."""

    number: int
    record: bytes = b""
    error: dict[str, Any] | None = None

    @property
    def size(self) -> int:
        """Bytes in a message, at most; of errors, which are short, about."""
        return len(self.record) + (40 if self.error is None else 500)


class Answers(msgspec.Struct, array_like=True):
    answers: list[Answer] = msgspec.field(default_factory=list)


encode = msgspec.msgpack.Encoder().encode
read_calls = msgspec.msgpack.Decoder(Calls).decode
read_answers = msgspec.msgpack.Decoder(Answers).decode


def error_body(error: ChatError) -> dict[str, Any]:
    """The error as it crosses: what a client would be told, and what its kind carries beside that."""
    body = error.as_dict()
    if error.carried:
        body["kind"] = type(error).__name__
        body["carried"] = {name: getattr(error, name) for name in error.carried}
    return body


def error_of(body: Mapping[str, Any]) -> ChatError:
    """The error that a node has answered with; a code that only a later release knows is `Unavailable`, a kind that is
    unknown here the plain error of its code."""
    kind = error_types().get(str(body.get("code")), Unavailable)
    carried: Mapping[str, Any] = body.get("carried") or {}
    own = next((each for each in _kinds(kind) if each.carried and each.__name__ == body.get("kind")), None)
    if own is None or not set(own.carried) <= carried.keys():
        own, carried = kind, {}
    error = own.__new__(own)  # Each kind's own constructor takes something else.
    ChatError.__init__(
        error,
        str(body.get("message", "")),
        field=body.get("field"),
        limit=body.get("limit"),
        retry_after=body.get("retry_after"),
        details=body.get("details"),
    )
    for name in own.carried:
        setattr(error, name, carried[name])
    return error


def _kinds(root: type[ChatError]) -> Iterator[type[ChatError]]:
    for kind in root.__subclasses__():
        yield kind
        yield from _kinds(kind)
