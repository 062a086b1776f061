from __future__ import annotations

import pytest
from chat_common.client.line import websocket_url


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


def test_another_scheme_is_refused() -> None:
    with pytest.raises(ValueError, match="ftp"):
        websocket_url("ftp://h")
