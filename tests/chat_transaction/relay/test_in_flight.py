from __future__ import annotations

from chat_common.ports.broker import BrokerRecord
from chat_transaction.relay.in_flight import InFlight
from chat_transaction.sql.outbox import OutboxRow


class Told:
    def __init__(self, capacity: int = 4) -> None:
        self.rooms = 0
        self.drained: list[str] = []
        self.in_flight = InFlight(capacity, self.room, self.drained.append)

    def room(self) -> None:
        self.rooms += 1


def row(number: int, topic: str = "orders", shard: int = 0) -> OutboxRow:
    return OutboxRow(number, shard, 0, BrokerRecord(topic, "k", b"", f"u{number}"))


def test_a_full_topic_has_room_again_once_it_is_half_empty() -> None:
    told = Told(capacity=4)
    rows = [row(number) for number in range(1, 5)]
    for each in rows:
        assert told.in_flight.has_room("orders")
        told.in_flight.add(each)
    assert not told.in_flight.has_room("orders")
    assert told.in_flight.has_room("paper"), "each topic has its own"
    told.in_flight.remove("u1")
    assert told.rooms == 0
    assert told.in_flight.full == {"orders"}
    told.in_flight.remove("u2")
    assert told.rooms == 1
    assert not told.in_flight.full
    told.in_flight.remove("u3")
    assert told.drained == []
    told.in_flight.remove("u4")
    assert told.drained == ["orders"]
    assert told.rooms == 1
    assert told.in_flight.remove("u4") is None


def test_a_number_is_forgotten_by_the_next_scan_or_at_once_when_the_row_stays_in_the_table() -> None:
    told = Told()
    flight = told.in_flight
    rows = [row(number, shard=number) for number in (1, 2, 3)]
    for each in rows:
        flight.numbers.add(each.id)
        flight.add(each)
    flight.drop(rows[0])
    assert flight.numbers == {2, 3}, "it may be read again"
    flight.confirm("u2")
    flight.remove("u3")
    assert flight.numbers == {2, 3}, "a scan that runs may still see them"
    flight.forget([3])
    assert flight.numbers == set()


def test_a_row_that_was_dropped_and_came_again_is_another_hand_over() -> None:
    flight = Told().in_flight
    old, new = row(1), row(1)
    flight.add(old)
    flight.drop(old)
    flight.add(new)
    assert flight.is_current(new)
    assert not flight.is_current(old)


async def test_waiting_for_the_last_row_ends_in_time() -> None:
    flight = Told().in_flight
    assert await flight.emptied(0.0)
    flight.add(row(1))
    assert not await flight.emptied(0.001)
    assert flight.of_topics({"orders"}) == flight.of_shards({0}) != []
    assert flight.of_topics({"paper"}) == flight.of_shards({1}) == []
