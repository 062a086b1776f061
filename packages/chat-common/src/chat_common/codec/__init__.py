"""The codec port: how frames and records become bytes. `json` is the built-in one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, TypeVar

from chat_common.protocol.frames import BadFrame, ClientFrame, ServerFrame

T = TypeVar("T")

MAX_FRAMES = 128
"""Frames in one transport message."""
MAX_DEPTH = 32
"""Nesting of objects and lists, the frame itself counted."""


class Codec(Protocol):
    """Pure and stateless: one instance serves all connections and threads. Equal input gives equal output.

    ``subprotocol`` is the WebSocket subprotocol that selects it, ``binary`` the kind of message that carries it.
    """

    @property
    def subprotocol(self) -> str: ...

    @property
    def binary(self) -> bool: ...

    def encode(self, value: Any) -> bytes:
        """One frame or record. `UNSET` attributes are left out. TypeError for what has no wire form."""
        ...

    def join(self, frames: Sequence[bytes]) -> bytes:
        """One transport message of 1-128 encoded frames."""
        ...

    def client_frames(self, data: bytes) -> Sequence[ClientFrame | BadFrame]:
        """A client's message, read strictly. Never raises: what is not a frame stands there as `BadFrame`."""
        ...

    def server_frames(self, data: bytes) -> Sequence[ServerFrame]:
        """A server's message; frames of an unknown op are left out. `Invalid` when it is not a message at all."""
        ...

    def decode(self, data: Any, kind: type[T]) -> T:
        """A payload (`msgspec.Raw`, bytes, or what `encode` makes of builtins) as ``kind``;
        empty or ``null`` is an empty object.

        Strict: ``1.0`` is no integer; a ``null`` for an optional attribute is as absent; U+0000 and lone surrogates
        are refused. Raises `Invalid` naming field and limit.
        """
        ...
