"""A user's own changes: each version once, and none that the user has not reached."""

from __future__ import annotations

from attrs import evolve
from chat_common.ports.broker import BrokerRecord
from chat_server.store.schema import version
from chat_server.store.topics import changed_entry
from sqlalchemy import select

from tests.chat_server.house import House


def record(user: str, first: int, last: int) -> BrokerRecord:
    entry = changed_entry(user, (first, last))
    return BrokerRecord(entry.topic, entry.key, entry.payload, "1")


async def newest(house: House, user: str) -> int:
    rows = await house.rows(select(version.c.version).where(version.c.user == user))
    return int(rows[0].version)


async def test_every_version_is_delivered_under_the_epoch_it_was_read_in(house: House) -> None:
    ada, bob = await house.users("ada", "bob")
    room = await house.group(ada, bob)
    await house.pump()
    house.delivered.clear()
    before = await newest(house, ada)
    await house.call(ada, "inbox.set", conversation=room, pinned=True)
    await house.pump()
    own = [one for one in house.delivered if one.users == {ada: before + 1}]
    assert [push.event for one in own for push in one.pushes] == ["inbox"]
    assert {one.epoch for one in own} == {house.rooms.epoch}


async def test_a_version_from_before_a_restore_is_not_delivered(house: House) -> None:
    """Handed to a session, it would make the next changes look as if they had come."""
    (ada,) = await house.users("ada")
    await house.group(ada)
    await house.pump()
    head = await newest(house, ada)
    house.delivered.clear()
    lost = record(ada, head, head + 3)
    await house.rooms.im._parts.own_changes.changed([lost, evolve(lost, key="again")])
    assert {one.users[ada] for one in house.delivered if one.users is not None} == {head}
