"""Records of a shard keep the order of their keys, whatever is held back."""

from __future__ import annotations

from attrs import evolve
from chat_common.ports.broker import BrokerRecord
from chat_transaction.brokers.keyed_queue import KeyedQueue
from chat_transaction.headers import ROW


def record(key: str, number: int) -> BrokerRecord:
    return BrokerRecord("topic", key, str(number).encode(), f"{key}{number}")


def taken(queue: KeyedQueue, limit: int, now: float) -> list[tuple[str, int]]:
    return [(each.id, each.attempt) for each in queue.take(limit, now)]


def test_a_held_key_holds_what_comes_later() -> None:
    queue = KeyedQueue()
    for number in range(3):
        queue.put(record("a", number))
    queue.put(record("b", 0))
    (head,) = queue.take(1, 0.0)
    queue.hold([head], (), 5.0)
    queue.put(record("a", 3))
    assert taken(queue, 10, 1.0) == [("b0", 1)]
    assert queue.next_time() == 5.0
    assert len(queue) == 4
    assert taken(queue, 10, 5.0) == [("a0", 2), ("a1", 1), ("a2", 1), ("a3", 1)]
    assert queue.next_time() is None


def test_what_was_not_tried_comes_behind_what_failed() -> None:
    queue = KeyedQueue()
    batch = [record("a", number) for number in range(3)]
    queue.hold(batch[:1], batch[1:], 1.0)
    queue.put(record("a", 3))
    assert taken(queue, 2, 1.0) == [("a0", 2), ("a1", 1)]
    assert taken(queue, 2, 1.0) == [("a2", 1), ("a3", 1)]


def test_held_keys_come_back_each_at_its_time() -> None:
    queue = KeyedQueue()
    queue.hold([record("late", 0)], (), 9.0)
    queue.hold([record("soon", 0)], (), 2.0)
    assert queue.next_time() == 2.0
    assert taken(queue, 10, 2.0) == [("soon0", 2)]
    assert taken(queue, 10, 8.9) == []
    assert taken(queue, 10, 9.0) == [("late0", 2)]


def row(key: str, number: int) -> BrokerRecord:
    """As it comes from an outbox, through a broker."""
    return evolve(record(key, number), headers={ROW: str(number)})


def test_what_waits_goes_on_in_order_when_another_of_its_key_comes() -> None:
    queue = KeyedQueue()
    for number in (4, 5, 6):
        queue.put(row("a", number))
    queue.hold((), queue.take(2, 0.0), 9.0)  # the first three were lost
    assert taken(queue, 10, 1.0) == []
    for number in (1, 2, 3):
        queue.put(row("a", number))
    queue.put(row("b", 7))
    assert [id for id, _ in taken(queue, 2, 1.0)] == ["a1", "a4"]
    assert [id for id, _ in taken(queue, 9, 1.0)] == ["a5", "a6", "a2", "a3", "b7"]
    assert queue.next_time() is None


def test_what_waits_and_comes_again_at_its_time_is_in_order() -> None:
    queue = KeyedQueue()
    queue.hold((), [row("a", 4), row("a", 5)], 1.0)
    queue.put(row("a", 2))
    queue.hold((), queue.take(9, 0.0), 5.0)
    assert queue.next_time() == 5.0
    assert [id for id, _ in taken(queue, 9, 5.0)] == ["a2", "a4", "a5"]


def test_a_failed_key_does_not_go_on_early() -> None:
    queue = KeyedQueue()
    queue.hold([row("a", 1)], [row("a", 2)], 5.0)
    queue.put(row("a", 3))
    assert taken(queue, 9, 4.9) == []
    assert [id for id, _ in taken(queue, 9, 5.0)] == ["a1", "a2", "a3"]
