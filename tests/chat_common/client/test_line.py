from __future__ import annotations

import pytest
from chat_common.client.line import http_url, transport_messages, websocket_url
from chat_common.codec.json import JsonCodec
from chat_common.errors import Invalid
from chat_common.protocol.frames import Ack, ClientFrame


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://127.0.0.1:8080", "ws://127.0.0.1:8080/ws"),
        ("https://chat.example/base/", "wss://chat.example/base/ws"),
        ("ws://h:1/ws?node=a", "ws://h:1/ws?node=a"),
    ],
)
def test_urls(url: str, expected: str) -> None:
    assert websocket_url(url) == expected


@pytest.mark.parametrize("url", ["ftp://h", "127.0.0.1:8080", "localhost", "http://", "ws:///ws", ""])
def test_what_is_not_an_address_is_refused_with_what_to_give(url: str) -> None:
    with pytest.raises(Invalid, match="give http") as refused:
        websocket_url(url)
    assert refused.value.field == "url"


def test_the_address_for_http() -> None:
    assert http_url("ws://h:1/ws") == "http://h:1"
    assert http_url("wss://h/base/ws") == "https://h/base"
    assert http_url("http://h:1/base") == "http://h:1/base"


def test_frames_are_joined_up_to_the_limits_in_order() -> None:
    codec = JsonCodec()

    def read(messages: list[bytes]) -> list[ClientFrame]:
        return [frame for message in messages for frame in codec.client_frames(message)]  # type: ignore[misc]

    frames: list[ClientFrame] = [Ack(n) for n in range(300)]
    by_count = list(transport_messages(codec, frames, 1 << 20))
    assert len(by_count) == 3
    assert read(by_count) == frames
    by_size = list(transport_messages(codec, frames, 200))
    assert max(map(len, by_size)) <= 200
    assert read(by_size) == frames
    assert list(transport_messages(codec, [], 200)) == []
