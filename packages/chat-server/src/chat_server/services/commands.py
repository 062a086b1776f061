"""The two halves of the pipeline: commands run where the rooms are, the gate where the sockets are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Protocol

import msgspec
from attrs import frozen
from chat_common.decoding import prepare
from chat_common.records import Caller


class _Addressed(msgspec.Struct):
    conversation: str = ""


prepare(_Addressed)


def conversation_of(params: bytes | msgspec.Raw) -> str:
    """The conversation that these params of a call name; empty: none, or they cannot be read."""
    try:
        return msgspec.json.decode(params, type=_Addressed).conversation
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""


@frozen
class CommandCall:
    """``params`` is JSON as the client sent it; empty: none."""

    caller: Caller
    command: str
    params: bytes = b""


@frozen
class CommandReply:
    """``result``: the reply record, which the codec encodes; from another process `msgspec.Raw`, its JSON.

    ``version``: the reply is the last page of a sync, which brings its session to this version. ``expires_in``: it has
    begun a login, which may take so many seconds.
    """

    result: Any
    version: int | None = None
    expires_in: float | None = None

    @classmethod
    def of(cls, result: Any) -> CommandReply:
        """The reply with this record; a plugin's commands may begin a login too."""
        version, lifetime = getattr(result, "version", None), getattr(result, "expires_in", None)
        return cls(
            result,
            version if isinstance(version, int) and getattr(result, "more", None) is False else None,
            lifetime if isinstance(lifetime, int | float) else None,
        )


class CommandService(Protocol):
    """The pipeline's half that runs where the rooms are: every command, for every transport alike."""

    async def call(self, call: CommandCall) -> CommandReply:
        """Raises `ChatError`.

        Unknown command → `Invalid` before rights are asked; a guest's call of a command that is not for guests →
        `NotAuthenticated`. A second call of (user, ref) while the first runs waits for it and gets the same result.
        """
        ...


@frozen
class CostsAsked:
    """Nothing is said yet."""


class CostService(Protocol):
    """What commands cost, for those who charge for them elsewhere."""

    async def costs(self, asked: CostsAsked) -> Mapping[str, int]:
        """The points of each command."""
        ...


class Gate(Protocol):
    """The pipeline's half that runs where the sockets are, because nothing may wait there."""

    def charge(self, caller: Caller, command: str | None = None) -> None:
        """Take the points that a call of this command costs, or what is none (1 point); raises `RateLimited`.

        A transport charges for whatever a client sends, before it looks at it: what is invalid or fails costs as much.
        """
        ...

    @property
    def submit_in_order(self) -> bool:
        """True when nothing between `CommandService.call` and the writer's queue waits, so that calls begun in order
        are stored in order; False when an asynchronous interceptor stands there, or a wire: then the gateway runs a
        session's submits to one conversation one after the other."""
        ...

    def intercept(self, point: Literal["frame_in", "push"], caller: Caller | None, value: Any) -> Any:
        """Runs the synchronous interceptors of a hot point; raises `ChatError` to refuse (a push: to drop it)."""
        ...
