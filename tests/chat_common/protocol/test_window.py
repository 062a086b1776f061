"""The window counts, holds references, and drops nothing without saying so."""

from __future__ import annotations

import pytest
from chat_common.protocol.chunk import Chunk
from chat_common.protocol.window import Window, WindowLimits

LAGGED = Chunk((b"lagged",))


def window(**limits: int) -> Window:
    return Window(WindowLimits(**limits), LAGGED)


def chunk(*frames: str) -> Chunk:
    return Chunk(tuple(frame.encode() for frame in frames))


def test_a_chunk_is_kept_by_reference_until_all_of_it_is_acknowledged() -> None:
    held = window()
    shared = chunk("a", "b", "c")
    assert held.send(shared)
    assert (held.in_flight, held.size) == (3, 3)
    assert held.ack(1)
    assert (held.in_flight, held.size) == (2, 2)
    assert held.flight[0] is shared
    assert held.ack(3)
    assert (held.in_flight, held.size, held.flight) == (0, 0, [])


def test_acks_go_forward_only_and_never_beyond_what_was_sent() -> None:
    held = window()
    held.send(chunk("a", "b"))
    assert held.ack(2)
    assert not held.ack(2)
    assert not held.ack(1)
    with pytest.raises(ValueError, match="only 2 were sent"):
        held.ack(3)


def test_size_stays_right_over_partial_acknowledgements() -> None:
    held = window()
    held.send(chunk("a", "bb", "ccc"))
    held.send(chunk("dddd", "eeeee"))
    for received, size in ((1, 14), (2, 12), (4, 5), (5, 0)):
        held.ack(received)
        assert held.size == size


def test_what_does_not_fit_waits_in_order_and_is_cut_where_needed() -> None:
    held = window(frames=3)
    assert held.send(chunk("a", "b"))
    assert not held.send(chunk("c", "d"))
    held.hold(chunk("c", "d"), 7)
    held.hold(chunk("e"), 8)
    assert [(part.frames, version) for part, version in held.release()] == [((b"c",), 0)]
    assert not held.send(chunk("f"))
    held.ack(2)
    assert [(part.frames, version) for part, version in held.release()] == [((b"d",), 7), ((b"e",), 8)]
    assert (held.in_flight, held.waiting, held.held) == (3, 0, 3)


def test_bytes_bound_the_window_but_one_frame_always_goes() -> None:
    held = window(size=10)
    assert not held.send(chunk("x" * 11))
    held.hold(chunk("x" * 11))
    assert len(list(held.release())) == 1
    held.hold(chunk("y"))
    assert list(held.release()) == []
    held.ack(1)
    assert len(list(held.release())) == 1


def test_a_full_backlog_becomes_one_lagged() -> None:
    held = window(frames=1, backlog_frames=2)
    held.send(chunk("a"))
    for name in "bcdef":
        held.hold(chunk(name))
    assert held.lagging
    assert list(held.release()) == []
    held.ack(1)
    assert list(held.release()) == [(LAGGED, 0)]
    assert not held.lagging
    held.ack(2)
    assert held.send(chunk("g"))


def test_the_backlog_is_bounded_in_bytes() -> None:
    held = window(frames=1, backlog_size=5)
    held.send(chunk("a"))
    held.hold(chunk("12345"))
    assert not held.lagging
    held.hold(chunk("6"))
    assert (held.lagging, held.waiting, held.held) == (True, 0, 1)


def test_resume_cuts_inside_a_chunk_and_refuses_the_impossible() -> None:
    held = window()
    held.send(chunk("a", "b", "c"))
    held.send(chunk("d"))
    held.ack(1)
    assert held.resume(0) is None
    assert held.resume(5) is None
    again = held.resume(2)
    assert again is not None
    assert [frame for part in again for frame in part.frames] == [b"c", b"d"]
    assert (held.sent, held.acked, held.in_flight) == (4, 2, 2)
    assert held.resume(4) == []
