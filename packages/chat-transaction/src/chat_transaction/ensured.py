"""Runs the registered functions that rows of the topic ``ensured`` name."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec
from chat_common.ports.broker import BrokerRecord, NotHandled
from chat_common.ports.outbox import ENSURED_TOPIC
from chat_common.records import Consumer, Ensured

from chat_transaction.consumption import Unprocessable


class Call(msgspec.Struct):
    """What a row says: never a class path."""

    name: str
    version: int
    arguments: msgspec.Raw


class EnsuredCalls:
    """The handler of the topic: keys side by side, one call after the other within a key."""

    def __init__(self, ensured: Sequence[Ensured]) -> None:
        self._known = {(each.name, each.version): each for each in ensured}

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
            except Exception as error:
                errors[record.id] = error
                return records[number:]
        return []

    async def _run(self, record: BrokerRecord) -> None:
        try:
            call = msgspec.json.decode(record.payload, type=Call)
        except msgspec.MsgspecError as error:
            raise Unprocessable(f"not a call: {error}") from error
        ensured = self._known.get((call.name, call.version))
        if ensured is None:
            raise Unprocessable(f"no function {call.name!r} version {call.version} is registered")
        try:
            arguments = msgspec.json.decode(call.arguments, type=ensured.arguments)
        except msgspec.MsgspecError as error:
            raise Unprocessable(f"arguments of {call.name!r} version {call.version}: {error}") from error
        await ensured.handler(arguments, record.id)
