"""Once per (user, ref): what runs now is waited for, what was answered is answered again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from attrs import define, field
from chat_common.errors import RefConflict
from chat_common.records import Caller


class Replies(Protocol):
    """Kept replies of commands whose effect is not in the server's own transaction. An entry lives 24 h."""

    async def get(self, user: str, ref: str) -> tuple[bytes, bytes] | None:
        """(request hash, encoded reply), or None."""
        ...

    async def put(self, user: str, ref: str, digest: bytes, result: bytes) -> None: ...


@define(eq=False)
class _Running:
    digest: bytes
    waiters: list[asyncio.Future[Any]] = field(factory=list)


class Once:
    """The calls of users that run now on this node."""

    __slots__ = ("_running",)

    def __init__(self) -> None:
        self._running: dict[tuple[str, str], _Running] = {}

    def __len__(self) -> int:
        return len(self._running)

    async def run(
        self, user: str, caller: Caller, request: Any, handler: Callable[[Caller, Any], Awaitable[Any]]
    ) -> Any:
        """The handler's result; a call of the same (user, ref) in the meantime waits for it and gets the same.

        The same ref with another `Caller.request_hash` → `RefConflict`. If the first is cancelled, one who waits
        takes its place. What fails is forgotten: only a success spends a ref.
        """
        key = (user, caller.ref)
        while (first := self._running.get(key)) is not None:
            if first.digest != caller.request_hash:
                raise RefConflict("This ref was already used for another request.", field="ref")
            waiter: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
            first.waiters.append(waiter)
            done, result = await waiter
            if done:
                return result
        mine = self._running[key] = _Running(caller.request_hash)
        try:
            result = await handler(caller, request)
        except Exception as error:
            for waiter in self._finish(key, mine):
                waiter.set_exception(error)
            raise
        except BaseException:
            for waiter in self._finish(key, mine):
                waiter.set_result((False, None))
            raise
        for waiter in self._finish(key, mine):
            waiter.set_result((True, result))
        return result

    def _finish(self, key: tuple[str, str], mine: _Running) -> list[asyncio.Future[Any]]:
        del self._running[key]
        return [waiter for waiter in mine.waiters if not waiter.done()]
