"""What every `Broker` must do, as checks that any implementer can run.

::

    @pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
    async def test_contract(check, stage):
        await check(stage)

A check passes or raises `AssertionError`. A stage opens clients of one broker: several clients are several processes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from secrets import token_hex
from typing import Protocol

from chat_common.ports.broker import Broker, BrokerRecord, NotHandled, RecordsRefused, Refusal


class Stage(Protocol):
    """The broker under test."""

    @property
    def patience(self) -> float:
        """Seconds after which something that must happen has not happened."""
        ...

    @property
    def shared(self) -> bool:
        """Records outlive the client that published them, and several clients share the broker."""
        ...

    @property
    def largest(self) -> int:
        """Bytes that a record with all around its payload may have (≥ 100,000): a larger one is refused."""
        ...

    def topic(self) -> str:
        """The name of a fresh topic that keeps the order of its keys."""
        ...

    def delay_topic(self) -> str:
        """The name of a fresh topic for delayed records."""
        ...

    def group(self) -> str:
        """The name of a fresh consumer group."""
        ...

    def client(self) -> AbstractAsyncContextManager[Broker]:
        """One more client of the broker, which leaves a handler that hangs after a second."""
        ...

    def small_client(self) -> AbstractAsyncContextManager[Broker]:
        """A client on which at most 20 records of a topic may wait."""
        ...


class Seen:
    """Collects what handlers got, and lets a check wait for it."""

    def __init__(self, patience: float) -> None:
        self.records: list[BrokerRecord] = []
        self._patience = patience
        self._changed = asyncio.Condition()

    async def add(self, records: Sequence[BrokerRecord]) -> None:
        async with self._changed:
            self.records += records
            self._changed.notify_all()

    async def until(self, enough: Callable[[list[BrokerRecord]], bool], what: str) -> None:
        try:
            async with asyncio.timeout(self._patience), self._changed:
                await self._changed.wait_for(lambda: enough(self.records))
        except TimeoutError:
            raise AssertionError(f"{what}; got {len(self.records)} records in {self._patience} s") from None

    async def payloads(self, count: int) -> None:
        await self.until(
            lambda records: len({record.id for record in records}) >= count, f"{count} different records must arrive"
        )

    def of(self, key: str) -> list[bytes]:
        return [record.payload for record in self.records if record.key == key]


def record(topic: str, key: str, number: int) -> BrokerRecord:
    return BrokerRecord(topic, key, str(number).encode(), token_hex(8))


def numbers(count: int) -> list[bytes]:
    return [str(number).encode() for number in range(count)]


def once(payloads: Sequence[bytes]) -> list[bytes]:
    """The first arrival of each: redelivery is allowed, another order is not."""
    return list(dict.fromkeys(payloads))


async def keeps_the_order_of_each_key(stage: Stage) -> None:
    topic, group, seen = stage.topic(), stage.group(), Seen(stage.patience)
    keys = [f"key-{number}" for number in range(8)]
    async with stage.client() as broker, broker.subscribe(topic, group, seen.add, batch=7):
        for number in range(25):
            await broker.publish([record(topic, key, number) for key in keys])
        await seen.payloads(200)
    for key in keys:
        assert once(seen.of(key)) == numbers(25), f"{key} out of order: {seen.of(key)}"


async def hands_over_what_was_published(stage: Stage) -> None:
    topic, group, seen = stage.topic(), stage.group(), Seen(stage.patience)
    sent = [
        BrokerRecord(topic, "ключ 键", bytes(range(256)), token_hex(8), headers={"trace": "a b", "groups": "x,y"}),
        BrokerRecord(topic, "k" * 128, b"", token_hex(8)),
        BrokerRecord(topic, "large", b"x" * 60_000, token_hex(8)),
    ]
    async with stage.client() as broker, broker.subscribe(topic, group, seen.add):
        await broker.publish(sent)
        await seen.payloads(3)
    got = {each.id: each for each in seen.records}
    for each in sent:
        assert got[each.id].key == each.key
        assert got[each.id].payload == each.payload
        assert dict(got[each.id].headers) == dict(each.headers)
        assert got[each.id].attempt == 1


async def gives_every_group_everything(stage: Stage) -> None:
    topic = stage.topic()
    mails, bills = Seen(stage.patience), Seen(stage.patience)

    async def refuse(records: Sequence[BrokerRecord]) -> None:
        await bills.add(records)
        raise RuntimeError("the bills' printer is out of paper")

    async with (
        stage.client() as broker,
        broker.subscribe(topic, stage.group(), mails.add),
        broker.subscribe(topic, stage.group(), refuse),
    ):
        await broker.publish([record(topic, "a", number) for number in range(20)])
        await mails.payloads(20)
        await bills.payloads(1)
    assert once(mails.of("a")) == numbers(20)


async def shares_within_a_group(stage: Stage) -> None:
    topic, group = stage.topic(), stage.group()
    seen = Seen(stage.patience)
    active: set[str] = set()
    overlaps: list[str] = []

    async def handle(records: Sequence[BrokerRecord]) -> None:
        keys = {each.key for each in records}
        overlaps.extend(keys & active)
        active.update(keys)
        await asyncio.sleep(0)
        active.difference_update(keys)
        await seen.add(records)

    keys = [f"key-{number}" for number in range(16)]
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(stage.client())
        second = await stack.enter_async_context(stage.client()) if stage.shared else first
        await stack.enter_async_context(first.subscribe(topic, group, handle, batch=5))
        await stack.enter_async_context(second.subscribe(topic, group, handle, batch=5))
        for number in range(10):
            await first.publish([record(topic, key, number) for key in keys])
        await seen.payloads(160)
    assert not overlaps, f"two members held {overlaps} at once"
    for key in keys:
        assert once(seen.of(key)) == numbers(10), f"{key} out of order: {seen.of(key)}"


async def delivers_again_before_successors(stage: Stage) -> None:
    topic, group = stage.topic(), stage.group()
    tried, handled = Seen(stage.patience), Seen(stage.patience)

    async def handle(records: Sequence[BrokerRecord]) -> None:
        await tried.add(records)
        if any(each.key == "a" and each.attempt < 3 for each in records):
            raise RuntimeError("not yet")
        await handled.add(records)

    async with stage.client() as broker, broker.subscribe(topic, group, handle, batch=1):
        sent = [record(topic, "a", number) for number in range(3)]
        await broker.publish(sent)
        await handled.payloads(3)
    assert once(handled.of("a")) == numbers(3), "a successor overtook a record that had failed"
    first = [each.attempt for each in tried.records if each.id == sent[0].id]
    assert first[:3] == [1, 2, 3], f"attempts must count from 1, got {first}"


async def goes_on_with_other_keys(stage: Stage) -> None:
    topic, group = stage.topic(), stage.group()
    handled = Seen(stage.patience)

    async def handle(records: Sequence[BrokerRecord]) -> None:
        bad = [each for each in records if each.key == "bad"]
        await handled.add([each for each in records if each.key != "bad"])
        if bad:
            raise NotHandled(bad[:1], bad[1:])

    async with stage.client() as broker, broker.subscribe(topic, group, handle, batch=10):
        await broker.publish([record(topic, key, number) for number in range(5) for key in ("bad", "good", "fine")])
        await handled.payloads(10)
    assert once(handled.of("good")) == numbers(5)
    assert once(handled.of("fine")) == numbers(5)


async def delivers_again_only_what_was_not_handled(stage: Stage) -> None:
    topic, group = stage.topic(), stage.group()
    handled, tried = Seen(stage.patience), Seen(stage.patience)

    async def handle(records: Sequence[BrokerRecord]) -> None:
        await tried.add(records)
        late = [each for each in records if each.payload == b"1" and each.attempt == 1]
        if late:
            position = list(records).index(late[0])
            await handled.add(records[:position])
            raise NotHandled(late, records[position + 1 :], 0.01)
        await handled.add(records)

    async with stage.client() as broker, broker.subscribe(topic, group, handle, batch=10):
        sent = [record(topic, "a", number) for number in range(4)]
        await broker.publish(sent)
        await handled.payloads(4)
    assert handled.of("a") == numbers(4), "exactly what was not handled must come again, in order"
    assert [each.attempt for each in tried.records if each.id == sent[1].id] == [1, 2]


async def keeps_what_nobody_takes_yet(stage: Stage) -> None:
    topic, group = stage.topic(), stage.group()
    seen = Seen(stage.patience)
    async with stage.client() as broker:
        async with broker.subscribe(topic, group, seen.add):
            await broker.publish([record(topic, "a", 0)])
            await seen.payloads(1)
        await broker.publish([record(topic, "a", number) for number in (1, 2, 3)])
        async with broker.subscribe(topic, group, seen.add):
            await seen.payloads(4)
    assert once(seen.of("a")) == numbers(4)


async def lets_the_running_batch_end(stage: Stage) -> None:
    topic, group = stage.topic(), stage.group()
    seen = Seen(stage.patience)
    entered, go_on = asyncio.Event(), asyncio.Event()
    ended: list[bool] = []

    async def handle(records: Sequence[BrokerRecord]) -> None:
        entered.set()
        await go_on.wait()
        ended.append(True)
        await seen.add(records)

    async with stage.client() as broker:
        async with broker.subscribe(topic, group, handle, batch=1):
            await broker.publish([record(topic, "a", 0)])
            async with asyncio.timeout(stage.patience):
                await entered.wait()
            asyncio.get_running_loop().call_later(0.05, go_on.set)
        assert ended == [True], "leaving a subscription must wait for the running batch"
        after: list[BrokerRecord] = []
        more = Seen(stage.patience)

        async def note(records: Sequence[BrokerRecord]) -> None:
            after.extend(records)
            await more.add(records)

        async with broker.subscribe(topic, group, note):
            await broker.publish([record(topic, "a", 1)])
            await more.until(lambda records: any(each.payload == b"1" for each in records), "the next must arrive")
    assert [each.payload for each in after] == [b"1"], "a batch that ended must not come again"


async def leaves_what_failed_to_the_next(stage: Stage) -> None:
    topic, group = stage.topic(), stage.group()
    tried, seen = Seen(stage.patience), Seen(stage.patience)

    async def refuse(records: Sequence[BrokerRecord]) -> None:
        await tried.add(records)
        raise NotHandled(records, retry_in=60)

    async with stage.client() as broker:
        async with broker.subscribe(topic, group, refuse, batch=10):
            await broker.publish([record(topic, "a", 0), record(topic, "b", 0)])
            await tried.payloads(2)
        async with broker.subscribe(topic, group, seen.add):
            await broker.publish([record(topic, "c", 0)])
            await seen.payloads(3)


async def delivers_again_when_a_consumer_dies(stage: Stage) -> None:
    """A client that vanishes in the middle of a batch: another one of its group gets that batch."""
    topic, group = stage.topic(), stage.group()
    seen = Seen(stage.patience)
    entered = asyncio.Event()

    async def hang(records: Sequence[BrokerRecord]) -> None:
        entered.set()
        await asyncio.Event().wait()

    async def doomed() -> None:
        async with stage.client() as broker, broker.subscribe(topic, group, hang, batch=1):
            await asyncio.Event().wait()

    async with stage.client() as broker:
        task = asyncio.create_task(doomed())
        try:
            async with asyncio.timeout(stage.patience):
                while not entered.is_set():
                    await broker.publish([record(topic, "a", 0)])
                    async with _at_most(1.0):
                        await entered.wait()
        finally:
            task.cancel()
            await asyncio.wait([task], timeout=1.0)
            task.cancel()
            await asyncio.wait([task], timeout=stage.patience)
        async with broker.subscribe(topic, group, seen.add):
            await seen.payloads(1)


async def delivers_late_what_is_delayed(stage: Stage) -> None:
    topic, group = stage.delay_topic(), stage.group()
    seen = Seen(stage.patience)
    loop = asyncio.get_running_loop()
    arrived: list[float] = []

    async def note(records: Sequence[BrokerRecord]) -> None:
        arrived.append(loop.time())
        await seen.add(records)

    async with stage.client() as broker, broker.subscribe(topic, group, note):
        published = loop.time()
        await broker.publish([record(topic, "a", 0)], delay=1.0)
        await seen.payloads(1)
    assert arrived[0] - published >= 0.95, f"came after {arrived[0] - published:.2f} s instead of 1 s"


async def waits_when_it_is_full(stage: Stage) -> None:
    topic, group = stage.topic(), stage.group()
    seen = Seen(stage.patience)
    go_on = asyncio.Event()

    async def handle(records: Sequence[BrokerRecord]) -> None:
        await go_on.wait()
        await seen.add(records)

    async with stage.small_client() as broker, broker.subscribe(topic, group, handle, batch=1):
        published = 0

        async def pour() -> None:
            nonlocal published
            for number in range(60):
                await broker.publish([record(topic, "a", number)])
                published += 1

        pouring = asyncio.create_task(pour())
        done, _ = await asyncio.wait([pouring], timeout=1.0)
        assert not done, "60 records fitted where 20 may wait"
        assert published <= 40, f"{published} records fitted where 20 may wait"
        go_on.set()
        async with asyncio.timeout(stage.patience):
            await pouring
        await seen.payloads(60)
    assert once(seen.of("a")) == numbers(60)


async def outlives_whatever_a_handler_raises(stage: Stage) -> None:
    """Also what is no `Exception`: a cancelled call inside the handler is a failed attempt, and nothing more."""

    class Strange(BaseException):
        pass

    topic, group = stage.topic(), stage.group()
    handled = Seen(stage.patience)
    errors = {1: asyncio.CancelledError(), 2: Strange(), 3: RuntimeError("not yet")}

    async def handle(records: Sequence[BrokerRecord]) -> None:
        for each in records:
            if each.payload == b"0" and each.attempt in errors:
                raise errors[each.attempt]
        await handled.add(records)

    async with stage.client() as broker, broker.subscribe(topic, group, handle):
        await broker.publish([record(topic, key, number) for number in range(3) for key in ("a", "b")])
        await handled.payloads(6)
        await broker.publish([record(topic, "a", 3)])
        await handled.payloads(7)
    assert once(handled.of("a")) == numbers(4)
    assert once(handled.of("b")) == numbers(3)


async def leaves_a_handler_that_hangs(stage: Stage) -> None:
    """It is cancelled after a while (the client's setting, a second here), and its batch goes to the next one."""
    topic, group = stage.topic(), stage.group()
    seen = Seen(stage.patience)
    entered, ended = asyncio.Event(), asyncio.Event()

    async def hang(records: Sequence[BrokerRecord]) -> None:
        entered.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with stage.client() as broker:
        subscription = broker.subscribe(topic, group, hang)
        await subscription.__aenter__()
        await broker.publish([record(topic, "a", 0), record(topic, "a", 1)])
        async with asyncio.timeout(stage.patience):
            await entered.wait()
        try:
            async with asyncio.timeout(stage.patience):
                await subscription.__aexit__(None, None, None)
        except TimeoutError:
            raise AssertionError("leaving a subscription must not wait for ever for its handler") from None
        assert ended.is_set(), "the handler must have been cancelled"
        async with broker.subscribe(topic, group, seen.add):
            await seen.payloads(2)
    assert once(seen.of("a")) == numbers(2)


async def refuses_what_is_too_large_alone(stage: Stage) -> None:
    """Neither a record that the backend will never take, nor its key, keeps others from going on."""
    topic, group, seen = stage.topic(), stage.group(), Seen(stage.patience)
    large = BrokerRecord(topic, "a", b"x" * (stage.largest + 1), token_hex(8))
    async with stage.client() as broker, broker.subscribe(topic, group, seen.add):
        for before, after in ((0, 1), (2, 3)):
            sent = [record(topic, "a", before), record(topic, "b", before), large]
            refusals = await _refusals(broker, [*sent, record(topic, "a", after), record(topic, "b", after)])
            refused = [each.record.id for each in refusals]
            assert refused == [large.id], f"the large record alone must be refused, not {len(refused)} records"
            assert refusals[0].fault == "record"
            assert refusals[0].reason
        await broker.publish([record(topic, "a", 4), record(topic, "b", 4)])
        await seen.payloads(10)
    for key in ("a", "b"):
        assert once(seen.of(key)) == numbers(5), f"{key} out of order: {seen.of(key)[:20]}"


async def _refusals(broker: Broker, records: Sequence[BrokerRecord]) -> Sequence[Refusal]:
    try:
        await broker.publish(records)
    except RecordsRefused as error:
        return error.refusals
    return ()


async def keeps_the_order_of_what_is_published_in_parts(stage: Stage) -> None:
    """Published at once, and together several times what the backend takes in one piece."""
    topic, group, seen = stage.topic(), stage.group(), Seen(stage.patience)
    sizes = [1, stage.largest // 3, 10, stage.largest // 2, stage.largest // 3] * 6
    sent = [
        BrokerRecord(topic, key, b"%d " % number + b"x" * size, token_hex(8))
        for number, size in enumerate(sizes)
        for key in ("a", "b", "c")
    ]
    async with stage.client() as broker, broker.subscribe(topic, group, seen.add, batch=5):
        await broker.publish(sent)
        await seen.payloads(len(sent))
    for key in ("a", "b", "c"):
        arrived = [payload.partition(b" ")[0] for payload in once(seen.of(key))]
        assert arrived == numbers(len(sizes)), f"{key} out of order: {arrived}"


@asynccontextmanager
async def _at_most(seconds: float) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        pass


CHECKS: Sequence[Callable[[Stage], Awaitable[None]]] = (
    hands_over_what_was_published,
    keeps_the_order_of_each_key,
    gives_every_group_everything,
    shares_within_a_group,
    delivers_again_before_successors,
    goes_on_with_other_keys,
    delivers_again_only_what_was_not_handled,
    keeps_what_nobody_takes_yet,
    lets_the_running_batch_end,
    delivers_late_what_is_delayed,
    outlives_whatever_a_handler_raises,
    leaves_a_handler_that_hangs,
    refuses_what_is_too_large_alone,
    keeps_the_order_of_what_is_published_in_parts,
)

SHARED_CHECKS: Sequence[Callable[[Stage], Awaitable[None]]] = (
    *CHECKS,
    leaves_what_failed_to_the_next,
    delivers_again_when_a_consumer_dies,
)
"""For a broker that outlives its clients."""

BOUNDED_CHECKS: Sequence[Callable[[Stage], Awaitable[None]]] = (waits_when_it_is_full,)
"""For a broker that bounds what may wait (where it does not, the outbox bounds what it publishes)."""
