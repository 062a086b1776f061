"""The interceptors of one point, in order, with their timeouts, policies and the recursion guard."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Iterable, Sequence
from contextvars import ContextVar
from typing import Any

import structlog
from attrs import field, frozen
from chat_common.errors import ChatError, Unavailable
from chat_common.plugins import Owned, PluginError
from chat_common.records import Caller, Interceptor, Point

POINTS: Sequence[Point] = ("frame_in", "command", "submit", "push")
HOT: frozenset[Point] = frozenset(("frame_in", "push"))
"""Points that nothing may wait at: plain functions only."""

_log = structlog.get_logger("chat_server.pipeline")

_inside: ContextVar[frozenset[str]] = ContextVar("chat_interceptors_inside", default=frozenset())
"""The interceptors in whose code this is running. Tasks that they start inherit it, so the guard holds there too."""


@frozen
class Stage:
    """One interceptor as it stands in the pipeline; what `chat-server plugins` prints."""

    interceptor: Interceptor
    owner: str
    waits: bool
    built_in: bool
    key: str = field(init=False)

    @key.default
    def _key(self) -> str:
        return f"{self.interceptor.point}:{self.interceptor.name}"

    def failed(self, error: Exception, value: Any) -> Any:
        """The policy for an interceptor that broke or took too long."""
        name, point = self.interceptor.name, self.interceptor.point
        _log.error(
            "interceptor_failed", interceptor=name, point=point, owner=self.owner, policy=self.interceptor.on_error,
            exc_info=error,
        )  # fmt: skip
        if self.interceptor.on_error == "open":
            return value
        raise Unavailable(f"The check {name!r} is not available now. Try again later.") from error


class Chain:
    """All interceptors of one point."""

    __slots__ = ("stages", "waits")

    def __init__(self, stages: Iterable[Stage]) -> None:
        self.stages = tuple(sorted(stages, key=lambda stage: (stage.interceptor.order, stage.interceptor.name)))
        self.waits = any(stage.waits for stage in self.stages)
        """Whether one of them is a coroutine function, so that `run_waiting` is needed."""

    def run(self, caller: Caller, value: Any) -> Any:
        """Through all of them without waiting; what the last one returns. Raises `ChatError` to refuse."""
        if not self.stages:
            return value
        inside = _inside.get()
        for stage in self.stages:
            if stage.key in inside:
                continue
            token = None if stage.built_in else _inside.set(inside | {stage.key})
            try:
                value = stage.interceptor.handler(caller, value)
            except ChatError:
                raise
            except Exception as error:
                value = stage.failed(error, value)
            finally:
                if token is not None:
                    _inside.reset(token)
        return value

    async def run_waiting(self, caller: Caller, value: Any) -> Any:
        """The same where some of them wait."""
        inside = _inside.get()
        for stage in self.stages:
            if stage.key in inside:
                continue
            token = None if stage.built_in else _inside.set(inside | {stage.key})
            try:
                if stage.waits:
                    async with asyncio.timeout(stage.interceptor.timeout):
                        value = await stage.interceptor.handler(caller, value)
                else:
                    value = stage.interceptor.handler(caller, value)
            except ChatError:
                raise
            except Exception as error:
                value = stage.failed(error, value)
            finally:
                if token is not None:
                    _inside.reset(token)
        return value


def chains(interceptors: Iterable[Owned[Interceptor]], built_in: Iterable[Owned[Interceptor]]) -> dict[Point, Chain]:
    """A chain for every point. `PluginError`: an unknown point, or a coroutine function where nothing may wait."""
    stages: dict[Point, list[Stage]] = {point: [] for point in POINTS}
    for ours, owned in [*((True, it) for it in built_in), *((False, it) for it in interceptors)]:
        it = owned.record
        if it.point not in stages:
            raise PluginError(f"{owned.owner}: interceptor {it.name!r}: no point {it.point!r}: {', '.join(POINTS)}")
        waits = _waits(it.handler)
        if waits and it.point in HOT:
            raise PluginError(
                f"{owned.owner}: interceptor {it.name!r}: at {it.point!r} nothing may wait, give it a plain function"
            )
        if it.name in {stage.interceptor.name for stage in stages[it.point]}:
            raise PluginError(f"{owned.owner}: There is already an interceptor {it.name!r} at {it.point!r}.")
        stages[it.point].append(Stage(it, str(owned.owner), waits, ours))
    return {point: Chain(found) for point, found in stages.items()}


def _waits(handler: Any) -> bool:
    return inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(getattr(handler, "__call__", None))  # noqa: B004 - an object whose call is a coroutine function
