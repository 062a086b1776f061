"""What travels between client and server: one class a frame, told apart by ``op``.

Structs rather than attrs classes, because msgspec reads a tagged union of them in one pass. In a `Call` and a client's
`Note` the payload stays undecoded (`msgspec.Raw`, empty when absent or null) until somebody knows its type.
Absent is ``UNSET`` on the server's frames and ``None`` on the client's, where ``null`` means the same.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from chat_common.errors import ChatError, Invalid
from chat_common.wire import Count, Id, Limits, Ref, User

SUBPROTOCOL = "chat.v1.json"
"""The WebSocket subprotocol of version 1 in JSON."""

Reconnect = Literal["resume", "sync", "never"]

# --- client → server ---------------------------------------------------------------------------------------------


class Device(Struct, frozen=True, omit_defaults=True):
    """The thing a client runs on. ``id`` is chosen once by the client and kept."""

    id: Id
    platform: Annotated[str, Meta(min_length=1, max_length=64, pattern=r"\S")]
    name: Annotated[str, Meta(min_length=1, max_length=128, pattern=r"\S")] | None = None


class Resume(Struct, frozen=True):
    """Which session to go on with, and how many of its pushes the client has."""

    session: Id
    received: Count


class Hello(Struct, tag_field="op", tag="hello", frozen=True, omit_defaults=True):
    device: Device
    token: Annotated[str, Meta(min_length=1, max_length=4096)] | None = None
    resume: Resume | None = None


class Call(Struct, tag_field="op", tag="call", frozen=True, omit_defaults=True):
    """A request; ``params`` undecoded on the server, any encodable object on the client."""

    ref: Ref
    command: Annotated[str, Meta(min_length=1, max_length=64)]
    params: Raw = Raw()


class Ack(Struct, tag_field="op", tag="ack", frozen=True):
    received: Count


class ClientNote(Struct, tag_field="op", tag="note", frozen=True, omit_defaults=True):
    event: Annotated[str, Meta(min_length=1, max_length=64)]
    data: Raw = Raw()


class Ping(Struct, tag_field="op", tag="ping", frozen=True):
    pass


ClientFrame = Hello | Call | Ack | ClientNote | Ping

# --- server → client ---------------------------------------------------------------------------------------------


class Welcome(Struct, tag_field="op", tag="welcome", frozen=True, omit_defaults=True, kw_only=True):
    """``heartbeat`` and ``resume_for`` in seconds, ``window`` in frames, ``server_time`` in ms. A guest has no user."""

    session: str
    resumed: bool
    device: str
    epoch: str
    version: int
    heartbeat: float
    resume_for: float
    window: int
    limits: Limits
    server_time: int
    node: str
    user: User | UnsetType = UNSET


class Reply(Struct, tag_field="op", tag="reply", frozen=True):
    ref: str
    result: Any


class Error(Struct, tag_field="op", tag="error", frozen=True, omit_defaults=True):
    code: str
    message: str
    ref: str | UnsetType = UNSET
    field: str | UnsetType = UNSET
    limit: int | UnsetType = UNSET
    retry_after: float | UnsetType = UNSET
    details: dict[str, Any] | UnsetType = UNSET

    @classmethod
    def of(cls, error: ChatError, ref: str | None = None) -> Error:
        """The frame that tells a client of ``error``, which answers its ``ref``."""
        return cls(
            error.code,
            error.message,
            UNSET if ref is None else ref,
            UNSET if error.field is None else error.field,
            UNSET if error.limit is None else error.limit,
            UNSET if error.retry_after is None else error.retry_after,
            UNSET if error.details is None else dict(error.details),
        )


class Push(Struct, tag_field="op", tag="push", frozen=True):
    """Counted from 1 on each session by both ends; the number is not in the frame."""

    event: str
    data: Any


class Lagged(Struct, tag_field="op", tag="lagged", frozen=True):
    """Counted as one push: something was dropped, sync everything."""


class Note(Struct, tag_field="op", tag="note", frozen=True):
    """Volatile: not counted, never replayed."""

    event: str
    data: Any


class Beat(Struct, tag_field="op", tag="beat", frozen=True, omit_defaults=True):
    version: int
    server_time: int
    behind: bool = False


class Pong(Struct, tag_field="op", tag="pong", frozen=True):
    server_time: int


class Bye(Struct, tag_field="op", tag="bye", frozen=True):
    code: int
    reason: str
    reconnect: Reconnect


ServerFrame = Welcome | Reply | Error | Push | Lagged | Note | Beat | Pong | Bye

# --- what could not be read --------------------------------------------------------------------------------------


class BadFrame(msgspec.Struct, frozen=True):
    """Stands where a frame of the client should be that is not one; it is answered by ``error``."""

    error: Invalid
    ref: str | None = None
