"""One consumer at work: batches in, failures isolated, retried, and given up in the end."""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections import Counter
from collections.abc import Sequence
from typing import Protocol

from attrs import frozen
from chat_common.backoff import pause
from chat_common.ports.broker import BrokerRecord, NotHandled
from chat_common.records import Consumer

from chat_transaction.brokers.delivery import is_cancelled
from chat_transaction.sql.fencing import FencedOut

log = logging.getLogger(__name__)

_FENCED = 0.05
"""Seconds until a batch comes again after one of its shards was lost."""
_WAIT = 1.0
"""Seconds, at most, between two looks whether what a record waits for is handled: each asks the database."""


class Unprocessable(Exception):
    """Raised by a handler for a record that no further attempt can help: it is given up at once."""


@frozen
class Accepted:
    """``run`` now; ``wait``: what is before them in their key has not been handled yet (``waited``: for so many seconds
    already, the longest). The others are dropped."""

    run: Sequence[BrokerRecord]
    wait: Sequence[BrokerRecord] = ()
    waited: float = 0.0


class Ledger(Protocol):
    """Where a consumption reports to: the relay that owns the rows, or `Confirmations` behind a broker."""

    async def accept(self, consumer: Consumer, records: Sequence[BrokerRecord]) -> Accepted:
        """Which of the records this process may run now."""
        ...

    def handled(self, consumer: Consumer, records: Sequence[BrokerRecord]) -> None: ...

    async def failed(self, consumer: Consumer, record: BrokerRecord, reason: str) -> None: ...

    async def bury(self, consumer: Consumer, record: BrokerRecord, reason: str) -> None: ...

    async def park(self, consumer: Consumer, record: BrokerRecord, reason: str) -> None: ...


class Consumption:
    """The `Handler` of one `Consumer`.

    A call that takes longer than the consumer's ``timeout`` is cancelled and has failed. A batch that fails is tried
    again key by key, then record by record, so that one bad record fails alone: its key waits for its next attempt,
    the neighbours go on. After its last attempt it is buried, or its key parked.
    """

    def __init__(self, consumer: Consumer, ledger: Ledger, *, retry_first: float, retry_cap: float) -> None:
        self._consumer = consumer
        self._ledger = ledger
        self.outcomes: Counter[str] = Counter()
        """Records by what became of them: handled, failed, buried, parked."""
        self._retry_first = retry_first
        self._retry_cap = retry_cap

    async def __call__(self, records: Sequence[BrokerRecord]) -> None:
        try:
            await self._run(records)
        except FencedOut as error:
            log.warning("%s of %s: %s", self._consumer.group, self._consumer.topic, error)
            # Some of the batch may be of shards that are ours still: it comes again, and the ledger takes those.
            raise NotHandled((), records, _FENCED) from error

    async def _run(self, records: Sequence[BrokerRecord]) -> None:
        accepted = await self._ledger.accept(self._consumer, records)
        records = accepted.run
        suspects = {record.key for record in records if record.attempt > 1}
        fresh = [record for record in records if record.key not in suspects] if suspects else records
        apart = {key: [record for record in records if record.key == key] for key in suspects}
        known: dict[str, Exception] = {}
        error = await self._try(fresh)
        if error is not None:
            if isinstance(error, NotHandled):
                known = {record.id: error.errors.get(record.id, error) for record in error.failed}
                left = {record.id for record in (*error.failed, *error.later)}
                handled = [record for record in fresh if record.id not in left]
                self._handled(handled)
                fresh = [record for record in fresh if record.id in left]
            elif len(fresh) == 1:
                known = {fresh[0].id: error}
            for record in fresh:
                apart.setdefault(record.key, []).append(record)
        failed: list[BrokerRecord] = []
        later: list[BrokerRecord] = []
        for key, chain in apart.items():
            untried = key not in suspects and chain[0].id not in known
            if untried and len(apart) > 1 and len(chain) > 1 and await self._try(chain) is None:
                continue
            for number, record in enumerate(chain):
                error = known.get(record.id) or await self._try([record])
                if error is None:
                    continue
                if not self._is_last(record, error):
                    self.outcomes["failed"] += 1
                    await self._ledger.failed(self._consumer, record, reason_of(error))
                    failed.append(record)
                    later += chain[number + 1 :]
                    break
                if self._consumer.on_failure == "park":
                    self.outcomes["parked"] += 1
                    await self._ledger.park(self._consumer, record, reason_of(error))
                    # What stands behind it is parked as well: the ledger accepts none of it.
                    await self._ledger.accept(self._consumer, chain[number + 1 :])
                    break
                self.outcomes["buried"] += 1
                await self._ledger.bury(self._consumer, record, reason_of(error))
        if failed or accepted.wait:
            if failed:
                again = pause(max(record.attempt for record in failed), self._retry_first, self._retry_cap)
            else:
                again = max(self._retry_first, min(accepted.waited / 2, _WAIT))
            raise NotHandled(failed, [*later, *accepted.wait], again)

    async def _try(self, records: Sequence[BrokerRecord]) -> Exception | None:
        if records:
            limit = asyncio.timeout(self._consumer.timeout)
            try:
                async with limit:
                    await self._consumer.handler(records)
            except (FencedOut, KeyboardInterrupt, SystemExit):
                raise
            except Exception as error:
                return (
                    TimeoutError(f"The handler did not end within {self._consumer.timeout} s.")
                    if limit.expired()
                    else error
                )
            except BaseException as error:
                if is_cancelled():
                    raise
                return RuntimeError(f"The handler raised {error!r}.")
            self._handled(records)
        return None

    def _handled(self, records: Sequence[BrokerRecord]) -> None:
        self.outcomes["handled"] += len(records)
        self._ledger.handled(self._consumer, records)

    def _is_last(self, record: BrokerRecord, error: Exception) -> bool:
        return record.attempt >= self._consumer.attempts or isinstance(error, Unprocessable)


def reason_of(error: Exception) -> str:
    """The traceback's last line and where it happened: enough to find the fault, and no body (what SQLAlchemy adds in
    further lines are the parameters). One line that every database can keep."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({frames[-1].filename.rpartition('/')[2]}:{frames[-1].lineno})" if frames else ""
    line = next(iter(traceback.format_exception_only(error)[-1].strip().splitlines()), "")
    plain = line.replace("\0", "\\0").encode("utf-8", "backslashreplace").decode()
    return plain[: 1000 - len(where)] + where


def distinct(consumers: Sequence[Consumer]) -> Sequence[Consumer]:
    """The consumers themselves; `ValueError` when two of a topic share a group, or a group has no usable name."""
    ((topic, group), count), *_ = Counter((each.topic, each.group) for each in consumers).most_common(1)
    if count > 1:
        raise ValueError(f"Two consumers of topic {topic!r} share the group {group!r}; give one of them another.")
    for each in consumers:
        if not each.group or "," in each.group:
            raise ValueError(f"A group of topic {each.topic!r} is named {each.group!r}; use a name without a comma.")
    return consumers
