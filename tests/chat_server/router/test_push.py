"""What is owed is sent: to each address once, again where it failed, and never when it is no news."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from attrs import define
from chat_common.clock import ManualClock
from chat_common.memory.push import MemoryPush
from chat_common.ports.push import Outcome, Result
from chat_server.router.push import KEPT_MS, OfflinePush
from chat_server.store.account_schema import login, push_address
from chat_server.store.leases import Lease
from chat_server.store.schema import push_due
from sqlalchemy import select, update

from tests.chat_server.house import House

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


def pushing(house: House, memory: Any, clock: ManualClock) -> OfflinePush:
    directory: Any = Known()
    return OfflinePush(
        house.database, house.rooms.executor, directory, clock, {"memory": memory}, lambda kind, body: body["text"], 60
    )


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

    phones.push._providers = {"memory": Losing()}
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
    assert await phones.later(1) == 0
    assert await phones.later(30) == 0
    assert await phones.later(31) == 1
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
    await write(phones.house, update(push_address).where(push_address.c.login == "login of d1").values(address="[]"))
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


async def test_a_provider_that_hangs_is_left_and_asked_again(phones: Phones, monkeypatch: pytest.MonkeyPatch) -> None:
    class Hanging(MemoryPush):
        async def send(self, notification: Any, addresses: Any) -> Any:
            await asyncio.Event().wait()

    monkeypatch.setattr("chat_server.router.push.PATIENCE", 0.01)
    assert await pushing(phones.house, Hanging(), phones.clock).send_due() == 0
    assert await phones.owed() == [(phones.bob, 1)]
    monkeypatch.undo()
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
    assert await phones.later(KEPT_MS / 1000) == 0
    assert phones.memory.asked == ["d1", "d2"]
    assert await phones.owed() == []
