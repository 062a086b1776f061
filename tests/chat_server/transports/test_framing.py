"""As few messages as allowed, never more than allowed in one."""

from __future__ import annotations

import json

from chat_common.codec.json import JsonCodec
from chat_server.transports.framing import MAX_MESSAGE, messages
from hypothesis import given
from hypothesis import strategies as st

codec = JsonCodec()


def test_one_frame_stands_alone_and_several_in_a_list() -> None:
    assert list(messages(codec, [b"1"])) == [b"1"]
    assert list(messages(codec, [b"1", b"2"])) == [b"[1,2]"]


def test_at_most_128_frames_go_together() -> None:
    made = list(messages(codec, [b"1"] * 300))
    assert [len(json.loads(message)) for message in made] == [128, 128, 44]
    assert [len(json.loads(message)) for message in messages(codec, [b"1"] * 128)] == [128]


@given(st.lists(st.integers(1, 400_000), min_size=1, max_size=40))
def test_no_message_is_above_the_limit_and_none_is_lost(sizes: list[int]) -> None:
    frames = [b'"' + b"x" * (size - 2) + b'"' if size >= 2 else b"1" for size in sizes]
    made = list(messages(codec, frames))
    assert all(len(message) <= MAX_MESSAGE for message in made)
    found: list[object] = []
    for message in made:
        value = json.loads(message)
        found.extend(value if isinstance(value, list) else [value])
    assert found == [json.loads(frame) for frame in frames]
    assert len(made) <= sum(sizes) // (MAX_MESSAGE // 2) + 1
