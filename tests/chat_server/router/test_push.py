"""What is owed is sent: to each address once, again where it failed, and never when it is no news."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from attrs import define
from chat_common.clock import ManualClock
from chat_common.memory.push import MemoryPush
from chat_common.ports.push import Outcome, Result
from chat_common.records import Caller
from chat_server.router.addresses import Subscribe
from chat_server.router.push import OfflinePush, PushPorts
from chat_server.router.settings import PushSettings
from chat_server.store.account_schema import login, push_address
from chat_server.store.leases import Lease
from chat_server.store.schema import push_due
from sqlalchemy import select, update

from tests.chat_server.house import House
from tests.support.waiting import until

LATER = Outcome(Result.LATER)


class Known:
    """A directory that has been known for long enough."""

    async def known_since(self) -> float:
        return 1_000.0


@define
class Phones:
    """bob with the devices d1 and d2, one message owed to him, and a clock that the test holds."""

    house: House
    clock: ManualClock
    memory: MemoryPush
    push: OfflinePush
    room: str
    bob: str

    async def later(self, seconds: float) -> int:
        self.clock.advance(seconds)
        return await self.push.send_due()

    async def owed(self) -> list[tuple[str, int]]:
        return [tuple(row) for row in await self.house.rows(select(push_due.c.user, push_due.c.last_seq))]

    def told(self) -> list[tuple[str, int]]:
        return [(device, note.seq) for device, note in self.memory.sent]


def pushing(house: House, memory: Any, clock: ManualClock, **others: Any) -> OfflinePush:
    """``others``: further providers, or settings."""
    directory: Any = Known()
    providers = {name: others.pop(name) for name in list(others) if not isinstance(others[name], int | float)}
    ports = PushPorts(
        database=house.database,
        executor=house.rooms.executor,
        directory=directory,
        clock=clock,
        providers={"memory": memory, **providers},
        preview=lambda kind, body: str(body["text"]),
    )
    return OfflinePush(ports, PushSettings(**others), 60)


async def write(house: House, statement: Any) -> None:
    await house.database.change(lambda connection: connection.execute(statement))


@pytest.fixture
async def phones(house: House) -> Phones:
    ada, bob = await house.users("ada", "bob")
    room = await house.group(ada, bob, name="Tea")
    for device in ("d1", "d2"):
        family = {"user": bob, "login": f"login of {device}"}
        await write(house, login.insert().values(family | {"device": device, "expires_at": 10**15}))
        await write(house, push_address.insert().values(family | {"provider": "memory", "address": "{}"}))
    await house.say(ada, room, "hello")
    await house.pump()
    memory, clock = MemoryPush(), ManualClock(wall_ms=house.clock.wall_ms() + 60_000)
    return Phones(house, clock, memory, pushing(house, memory, clock), room, bob)


class Died(BaseException):
    """The end of the process, as far as the work in it can tell."""


class Turn(Lease):
    """A lease that is lost when the test says so."""

    def __init__(self) -> None:
        super().__init__("offline-push")
        self.mine = True

    @property
    def held(self) -> bool:
        return self.mine


async def test_who_has_not_the_turn_sends_nothing_and_who_loses_it_stops_before_the_next(phones: Phones) -> None:
    turn = Turn()
    phones.push._turn = turn
    turn.mine = False
    assert await phones.push.send_due() == 0
    ada = await phones.house.user("ada")
    other = await phones.house.group(ada, phones.bob, name="Cake")
    await phones.house.say(ada, other, "cake")
    await phones.house.pump()
    phones.clock.advance(60)

    class Losing(MemoryPush):
        async def send(self, notification: Any, addresses: Any) -> Any:
            turn.mine = False
            return await super().send(notification, addresses)

    phones.push._providers = {"memory": Losing()}  # both are begun side by side, and the second looks before it sends
    turn.mine = True
    assert await phones.push.send_due() == 2, "both devices hear of the first conversation"
    assert await phones.owed() == [(phones.bob, 1)], "what was sent is written down, and the other is still owed"
    phones.push._providers = {"memory": phones.memory}
    turn.mine = True
    assert await phones.push.send_due() == 2
    assert await phones.owed() == []
    (told,) = {note.conversation for _, note in phones.memory.sent}
    assert told in (phones.room, other)


async def test_each_address_is_told_once(phones: Phones) -> None:
    assert await phones.push.send_due() == 2
    assert phones.told() == [("d1", 1), ("d2", 1)]
    note = phones.memory.sent[0][1]
    assert (note.title, note.text, note.collapse) == ("Tea", "hello", phones.room)
    assert await phones.owed() == []
    assert await phones.later(3_600) == 0


async def test_one_that_fails_is_asked_again_and_its_neighbour_is_not(phones: Phones) -> None:
    phones.memory.answers["d1"] = [LATER, LATER]
    assert await phones.push.send_due() == 1
    assert await phones.owed() == [(phones.bob, 1)]
    assert await phones.later(14) == 0
    assert phones.memory.asked == ["d1", "d2"], "nothing sooner than half of the first wait"
    assert await phones.later(17) == 0
    assert phones.memory.asked == ["d1", "d2", "d1"]
    assert await phones.later(29) == 0
    assert phones.memory.asked == ["d1", "d2", "d1"], "the second wait is twice as long"
    assert await phones.later(32) == 1
    assert phones.memory.asked == ["d1", "d2", "d1", "d1"]
    assert phones.told() == [("d2", 1), ("d1", 1)]
    assert await phones.owed() == []


async def test_retry_after_holds_its_address_alone(phones: Phones) -> None:
    phones.memory.answers["d1"] = [Outcome(Result.LATER, 600.0)]
    await phones.push.send_due()
    for _ in range(9):
        assert await phones.later(60) == 0
    assert phones.memory.asked == ["d1", "d2"]
    assert await phones.later(61) == 1
    assert phones.told() == [("d2", 1), ("d1", 1)]


async def test_an_address_that_was_renewed_is_not_held_by_what_was_said_of_the_old_one(phones: Phones) -> None:
    phones.memory.answers["d1"] = [Outcome(Result.LATER, 600.0)]
    await phones.push.send_due()
    subscribe = Subscribe(provider="memory", address={"new": 1})
    await phones.push._book.subscribe(Caller(phones.bob, "renewal", token="login of d1"), subscribe)
    assert await phones.later(31) == 1
    assert phones.told() == [("d2", 1), ("d1", 1)]


@pytest.mark.parametrize("over", [{"ended_at": 1}, {"expires_at": 1}, {"audience": "phone"}], ids=str)
async def test_a_login_that_does_not_live_is_told_nothing(phones: Phones, over: dict[str, Any]) -> None:
    await write(phones.house, update(login).where(login.c.device == "d1").values(over))
    assert await phones.push.send_due() == 1
    assert phones.memory.asked == ["d2"]
    assert await phones.owed() == []


async def test_a_dead_address_is_dropped_and_nothing_more_is_owed(phones: Phones) -> None:
    phones.memory.answers["d1"] = [Outcome(Result.GONE)]
    assert await phones.push.send_due() == 1
    assert [row.login for row in await phones.house.rows(select(push_address))] == ["login of d2"]
    assert await phones.owed() == []


async def test_an_address_renewed_while_the_old_one_died_stays(phones: Phones) -> None:
    class Renewing(MemoryPush):
        async def send(self, notification: Any, addresses: Any) -> Any:
            first = push_address.c.login == "login of d1"
            await write(phones.house, update(push_address).where(first).values(address='{"new":1}'))
            return [Outcome(Result.GONE), Outcome(Result.DELIVERED)]

    await pushing(phones.house, Renewing(), phones.clock).send_due()
    assert {row.login for row in await phones.house.rows(select(push_address))} == {"login of d1", "login of d2"}


async def test_a_refusal_is_not_tried_again_and_keeps_the_address(phones: Phones) -> None:
    phones.memory.answers["d1"] = [Outcome(Result.REFUSED, reason="too large")]
    assert await phones.push.send_due() == 1
    assert await phones.owed() == []
    assert len(await phones.house.rows(select(push_address))) == 2


@pytest.mark.parametrize("fault", ["raises", "answers for one"])
async def test_a_provider_that_breaks_its_word_is_asked_again(phones: Phones, fault: str) -> None:
    class Bad(MemoryPush):
        async def send(self, notification: Any, addresses: Any) -> Any:
            if fault == "raises":
                raise RuntimeError("a bug")
            return [Outcome(Result.DELIVERED)]

    assert await pushing(phones.house, Bad(), phones.clock).send_due() == 0
    assert await phones.owed() == [(phones.bob, 1)]
    assert await phones.later(31) == 2


async def test_a_provider_that_hangs_is_left_and_asked_again(phones: Phones) -> None:
    class Hanging(MemoryPush):
        async def send(self, notification: Any, addresses: Any) -> Any:
            await asyncio.Event().wait()

    assert await pushing(phones.house, Hanging(), phones.clock, timeout=0.01).send_due() == 0
    assert await phones.owed() == [(phones.bob, 1)]
    assert await phones.later(31) == 2


async def test_a_process_that_dies_before_it_settles_sends_again(phones: Phones) -> None:
    """The platform has taken it, the row stands: another process sends it under the same collapse key."""

    class Dying(MemoryPush):
        async def send(self, notification: Any, addresses: Any) -> Any:
            await super().send(notification, addresses)
            raise Died

    dying = Dying()
    with pytest.raises(Died):
        await pushing(phones.house, dying, phones.clock).send_due()
    assert await phones.push.send_due() == 2
    assert {note.collapse for _, note in dying.sent + phones.memory.sent} == {phones.room}


async def test_what_is_a_day_old_is_told_to_nobody(phones: Phones) -> None:
    phones.memory.answers["d1"] = [LATER]
    await phones.push.send_due()
    assert await phones.later(86_400) == 0
    assert phones.memory.asked == ["d1", "d2"]
    assert await phones.owed() == []


async def say_in(phones: Phones, name: str, text: str) -> str:
    ada = await phones.house.user("ada")
    room = await phones.house.group(ada, phones.bob, name=name)
    await phones.house.say(ada, room, text)
    await phones.house.pump()
    return room


async def use(phones: Phones, device: str, provider: str) -> None:
    mine = push_address.c.login == f"login of {device}"
    await write(phones.house, update(push_address).where(mine).values(provider=provider))


class Hanging(MemoryPush):
    """Answers when it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.go_on = asyncio.Event()
        self.begun = 0

    async def send(self, notification: Any, addresses: Any) -> Any:
        self.begun += len(addresses)
        await self.go_on.wait()
        return await super().send(notification, addresses)


async def test_a_provider_that_hangs_holds_up_no_row_of_another(phones: Phones) -> None:
    """More of its rows are due, and for longer, than it may have under way; the other's are behind them."""
    carol = await phones.house.user("carol")
    ada = await phones.house.user("ada")
    family = {"user": carol, "login": "login of carol"}
    await write(phones.house, login.insert().values(family | {"device": "c", "expires_at": 10**15}))
    await write(phones.house, push_address.insert().values(family | {"provider": "hanging", "address": "{}"}))
    for number in range(5):
        room = await phones.house.group(ada, carol, name=f"room {number}")
        await phones.house.say(ada, room, "hi")
    await phones.house.pump()
    await write(phones.house, update(push_due).where(push_due.c.user == carol).values(due_at=push_due.c.due_at - 10))
    hanging = Hanging()
    push = pushing(phones.house, phones.memory, phones.clock, hanging=hanging, in_flight=2)
    phones.push = push
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("chat_server.router.due.PAGE", 3)
        running: list[asyncio.Task[int]] = []
        for _ in range(4):
            tasks, _more = await push._start()
            running += tasks
            await asyncio.sleep(0)
            phones.clock.advance(1)
        await until(lambda: len(phones.memory.sent) == 2, what="bob's devices are told while carol's provider hangs")
        assert hanging.begun == 2, "no more than it has room for"
        hanging.go_on.set()
        await asyncio.gather(*running)
        for _ in range(4):
            await phones.later(10)
    assert len(hanging.sent) == 5
    assert await phones.owed() == []


async def test_one_users_two_providers_are_asked_side_by_side(phones: Phones) -> None:
    await use(phones, "d1", "hanging")
    hanging = Hanging()
    push = pushing(phones.house, phones.memory, phones.clock, hanging=hanging)
    sending = asyncio.create_task(push.send_due())
    await until(lambda: phones.told() == [("d2", 1)], what="the other device is told meanwhile")
    assert not sending.done()
    hanging.go_on.set()
    assert await sending == 2


async def test_after_an_outage_one_summary_is_told_and_nothing_that_is_too_old(phones: Phones) -> None:
    phones.push = pushing(phones.house, phones.memory, phones.clock, max_age=7_200.0)
    phones.memory.answers = {device: [LATER] * 20 for device in ("d1", "d2")}
    await phones.push.send_due()
    phones.house.clock.advance(5_400)
    phones.clock.advance(5_400)
    cake = await say_in(phones, "Cake", "at four")
    phones.house.clock.advance(1)
    pie = await say_in(phones, "Pie", "at five")
    phones.clock.advance(1_860)  # Tea's message is two hours old now, the others half an hour
    for _ in range(40):
        await phones.later(120)
        phones.memory.answers.clear()
    assert [(device, note.text) for device, note in phones.memory.sent] == [
        ("d1", "at five (+1)"),
        ("d2", "at five (+1)"),
    ]
    note = phones.memory.sent[0][1]
    assert (note.title, note.conversation, note.collapse) == ("Pie", pie, "summary")
    assert cake != pie
    assert await phones.owed() == []
    assert phones.push.numbers.late["memory"] == 2


async def test_the_numbers_tell_what_became_of_each(phones: Phones) -> None:
    phones.memory.answers = {"d1": [Outcome(Result.GONE)]}
    await phones.push.send_due()
    shown = {
        (sample.name, sample.labels.get("result") or sample.labels.get("le")): sample.value
        for family in phones.push.numbers.source()
        for sample in family.samples
    }
    assert shown["chat_push_sent_total", None] == 2
    assert shown["chat_push_outcomes_total", "gone"] == shown["chat_push_outcomes_total", "delivered"] == 1
    assert shown["chat_push_late_total", None] == 0
    assert shown["chat_push_acceptance_seconds_bucket", "60.0"] == 1
    assert shown["chat_push_acceptance_seconds_bucket", "30.0"] == 0
    assert shown["chat_push_acceptance_seconds_sum", None] == 60
