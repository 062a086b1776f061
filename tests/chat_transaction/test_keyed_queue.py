"""Records of a shard keep the order of their keys, whatever is held back."""

from __future__ import annotations

from chat_common.ports.broker import BrokerRecord
from chat_transaction.keyed_queue import KeyedQueue


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
