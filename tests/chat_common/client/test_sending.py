"""The send queue: order, repetition, what survives a process."""

from __future__ import annotations

from pathlib import Path

from chat_common.client import Outgoing, SendQueue
from chat_common.errors import NotFound, RateLimited, Unavailable


def message(ref: str, conversation: str = "c") -> Outgoing:
    return Outgoing(ref, conversation, "text", {"text": ref})


def refs(entries: list[Outgoing]) -> list[str]:
    return [entry.ref for entry in entries]


def test_one_message_of_a_conversation_is_under_way_at_a_time() -> None:
    queue = SendQueue()
    for outgoing in (message("a"), message("b"), message("x", "d"), message("a")):
        queue.add(outgoing)
    assert refs(queue.take(0)) == ["a", "x"]
    assert queue.take(0) == []
    queue.sent(message("a"))
    assert refs(queue.take(0)) == ["b"]
    queue.sent(message("b"))
    queue.sent(message("x", "d"))
    assert len(queue) == 0
    assert queue.deadline() is None


def test_a_passing_error_holds_the_line_and_a_final_one_lets_it_go_on() -> None:
    queue = SendQueue()
    queue.add(message("a"))
    queue.add(message("b"))
    queue.take(0)
    assert not queue.refused(message("a"), Unavailable(), 10.0)
    assert queue.deadline() == 10.5
    assert queue.take(10.4) == []
    assert refs(queue.take(10.5)) == ["a"]
    assert not queue.refused(message("a"), RateLimited(retry_after=7), 11.0)
    assert queue.deadline() == 18.0
    queue.take(18.0)
    assert queue.refused(message("a"), NotFound(), 18.0)
    assert refs(queue.take(18.0)) == ["b"]


def test_the_file_holds_what_has_no_receipt(tmp_path: Path) -> None:
    path = tmp_path / "queue"
    queue = SendQueue(path)
    for ref in "abc":
        queue.add(message(ref))
    queue.take(0)
    queue.sent(message("a"))
    with path.open("a") as torn:
        torn.write('{"ref": "half a li')
    again = SendQueue(path)
    assert refs(again.entries()) == ["b", "c"]
    assert path.read_text().count("\n") == 2
    again.close()
