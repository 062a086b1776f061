"""Functions that run after commit: how they are named, and what runs them."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar, get_type_hints

import msgspec
from attrs import frozen
from chat_common.decoding import prepare
from chat_common.ports.broker import BrokerRecord, NotHandled
from chat_common.ports.outbox import ENSURED_TOPIC, OutboxEntry, ensured_entry
from chat_common.records import Consumer, Ensured

from chat_transaction.brokers.delivery import is_cancelled
from chat_transaction.consumers.consumption import Unprocessable

A = TypeVar("A")


class Call(msgspec.Struct):
    """What a row says: never a class path."""

    name: str
    version: int
    arguments: msgspec.Raw


prepare(Call)


class EnsuredCalls:
    """The handler of the topic: keys side by side, one call after the other within a key."""

    def __init__(self, ensured: Sequence[Ensured]) -> None:
        self._known: dict[tuple[str, int], Ensured] = {}
        for each in ensured:
            if self._known.setdefault((each.name, each.version), each) is not each:
                raise ValueError(f"Two ensured functions are named {each.name!r}, version {each.version}.")

    def consumer(self, attempts: int = 10) -> Consumer:
        return Consumer(ENSURED_TOPIC, "ensured", self.handle, batch=32, attempts=attempts)

    async def handle(self, records: Sequence[BrokerRecord]) -> None:
        if len(records) == 1:
            return await self._run(records[0])
        chains: dict[str, list[BrokerRecord]] = {}
        for record in records:
            chains.setdefault(record.key, []).append(record)
        errors: dict[str, Exception] = {}
        left = await asyncio.gather(*(self._chain(chain, errors) for chain in chains.values()))
        if errors:
            raise NotHandled(
                [chain[0] for chain in left if chain], [later for chain in left for later in chain[1:]], errors=errors
            )

    async def _chain(self, records: list[BrokerRecord], errors: dict[str, Exception]) -> list[BrokerRecord]:
        """Run up to the first failure; returns what is left from there on."""
        for number, record in enumerate(records):
            try:
                await self._run(record)
            except asyncio.CancelledError as error:
                if is_cancelled():
                    raise
                errors[record.id] = RuntimeError(f"The function raised {error!r}.")
                return records[number:]
            except Exception as error:
                errors[record.id] = error
                return records[number:]
        return []

    async def _run(self, record: BrokerRecord) -> None:
        try:
            call = msgspec.json.decode(record.payload, type=Call)
        except msgspec.MsgspecError as error:
            raise Unprocessable(f"The payload is not a call: {error}") from error
        ensured = self._known.get((call.name, call.version))
        if ensured is None:
            raise Unprocessable(f"No function {call.name!r}, version {call.version}, is registered.")
        try:
            arguments = msgspec.json.decode(call.arguments, type=ensured.arguments)
        except msgspec.MsgspecError as error:
            raise Unprocessable(f"The arguments do not fit {call.name!r}, version {call.version}: {error}") from error
        limit = asyncio.timeout(ensured.timeout)
        try:
            async with limit:
                await ensured.handler(arguments, record.id)
        except Exception as error:
            if limit.expired():
                raise TimeoutError(f"The function {call.name!r} did not end within {ensured.timeout} s.") from error
            raise


@frozen
class EnsuredFunction(Generic[A]):
    """A function that can be enqueued: what `ensured` makes of it."""

    record: Ensured
    function: Callable[[A, str], Awaitable[None]]

    async def __call__(self, arguments: A, key: str) -> None:
        """Run it here and now."""
        await self.function(arguments, key)

    def entry(self, arguments: A, *, key: str = "", delay: float = 0.0) -> OutboxEntry:
        """The outbox entry of one call. Calls of the same ``key`` run in order, and one that fails keeps the later
        ones waiting; without a key no other call waits for it. ``delay`` is in seconds.

        `Invalid` when the arguments do not fit their class, or key or delay cannot be right.
        """
        return ensured_entry(self.record, arguments, key=key, delay=delay)


def ensured(
    name: str, *, version: int = 1, timeout: float | None = None
) -> Callable[[Callable[[A, str], Awaitable[None]]], EnsuredFunction[A]]:
    """Register ``async def f(arguments: ArgumentsClass, key: str)`` under a name and version.

    Rows hold these and JSON, never a class path: the function may move and be renamed. A change of the arguments class
    that old rows do not fit is a new version; keep the old one until its rows are gone. A call that takes longer than
    ``timeout`` seconds is cancelled and tried again, as one that raised (None: later calls of its key wait for it).
    """

    def decorate(function: Callable[[A, str], Awaitable[None]]) -> EnsuredFunction[A]:
        parameters = list(inspect.signature(function).parameters)
        hints = get_type_hints(function)
        if len(parameters) != 2 or parameters[0] not in hints:
            raise TypeError(f"{function.__name__} must take (arguments: ArgumentsClass, key: str)")
        return EnsuredFunction(Ensured(name, version, hints[parameters[0]], function, timeout), function)

    return decorate
