"""Short calls to Redis: those of one loop turn travel together."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from attrs import frozen
from chat_common.backoff import pause
from chat_common.errors import Unavailable
from redis.asyncio import Redis
from redis.commands.core import AsyncScript
from redis.exceptions import NoScriptError, OutOfMemoryError, ReadOnlyError, RedisError, ResponseError

log = logging.getLogger(__name__)

_BATCH = 500
_FIRST, _CAP = 0.1, 2.0
"""Seconds for which a Redis that has not answered is not asked again."""


@frozen
class _Call:
    script: AsyncScript
    keys: Sequence[str]
    args: Sequence[Any]
    answer: asyncio.Future[Any]


class Calls:
    """`run` sends scripts, in the order of the calls, one batch after the other: what is called while a batch is under
    way travels with the next one. So a call that was made after another is never carried out before it.

    A call is sent once. Where Redis does not answer, it may have been carried out or not: `Unavailable`; and so is each
    further call, at once, until Redis is asked again (0.1 to 2 s later), so that nobody queues up for a Redis that is
    away. ``limit`` calls may wait at most.
    """

    def __init__(self, client: Redis, limit: int) -> None:
        self._client = client
        self._limit = limit
        self._waiting: deque[_Call] = deque()
        self._some = asyncio.Event()
        self._failures = 0
        self._closed_until = 0.0

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self._sending(), name="calls to Redis")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            self._refuse(self._waiting, "The connection to Redis is closed.")
            self._waiting.clear()

    async def run(self, script: AsyncScript, keys: Sequence[str], args: Sequence[Any] = ()) -> Any:
        loop = asyncio.get_running_loop()
        left = self._closed_until - loop.time()
        if left > 0:
            raise Unavailable("Redis did not answer a moment ago.", retry_after=round(left, 3))
        if len(self._waiting) >= self._limit:
            raise Unavailable(f"{self._limit} calls wait for Redis already.", limit=self._limit, retry_after=1.0)
        call = _Call(script, keys, args, loop.create_future())
        self._waiting.append(call)
        self._some.set()
        return await call.answer

    async def _sending(self) -> None:
        while True:
            await self._some.wait()
            self._some.clear()
            while self._waiting:
                batch = [self._waiting.popleft() for _ in range(min(_BATCH, len(self._waiting)))]
                try:
                    await self._send([call for call in batch if not call.answer.done()])  # without the cancelled ones
                    self._failures = 0
                except (RedisError, OSError) as error:
                    self._failures += 1
                    self._closed_until = asyncio.get_running_loop().time() + pause(self._failures, _FIRST, _CAP)
                    log.warning("Redis does not answer: %s", error)
                    self._refuse([*batch, *self._waiting], f"Redis does not answer: {error}")
                    self._waiting.clear()
                except BaseException:
                    self._refuse(batch, "The connection to Redis is closed.")
                    raise

    async def _send(self, batch: Sequence[_Call]) -> None:
        if not batch:
            return
        answers = await self._execute(batch)
        unknown = [number for number, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
        if unknown:
            # A server that was restarted, or has taken over, knows none. Those calls were not carried out: again.
            for script in {call.script.sha: call.script for call in batch}.values():
                await self._client.script_load(script.script)
            again = await self._execute([batch[number] for number in unknown])
            answers = [*answers]
            for number, answer in zip(unknown, again, strict=True):
                answers[number] = answer
        for call, answer in zip(batch, answers, strict=True):
            if call.answer.done():
                continue
            if isinstance(answer, ResponseError):
                call.answer.set_exception(_refusal(answer))
            elif isinstance(answer, Exception):
                raise answer
            else:
                call.answer.set_result(answer)

    async def _execute(self, batch: Sequence[_Call]) -> Sequence[Any]:
        async with self._client.pipeline(transaction=False) as pipe:
            for call in batch:
                pipe.evalsha(call.script.sha, len(call.keys), *call.keys, *call.args)
            return await pipe.execute(raise_on_error=False)

    def _refuse(self, calls: Sequence[_Call] | deque[_Call], reason: str) -> None:
        for call in calls:
            if not call.answer.done():
                call.answer.set_exception(Unavailable(reason, retry_after=1.0))


def _refusal(error: ResponseError) -> Exception:
    """A server that loads its data, has no room, or has just become a replica can be asked again later; anything else
    is a fault of ours."""
    passing = ("MASTERDOWN", "NOREPLICAS", "BUSY", "MISCONF", "TRYAGAIN")
    if isinstance(error, ReadOnlyError | OutOfMemoryError) or str(error).startswith(passing):
        return Unavailable(f"Redis cannot do this now: {error}", retry_after=1.0)
    return error
