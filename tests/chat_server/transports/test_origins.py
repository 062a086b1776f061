"""Which origins may connect, and that a token in the address is noticed."""

from __future__ import annotations

import pytest
from chat_server.transports.origins import names_token, origin_allowed


@pytest.mark.parametrize(
    ("origin", "host", "allowed", "expected"),
    [
        (None, "h:1", (), True),
        (None, None, ("https://a",), True),
        ("http://h:1", "h:1", (), True),
        ("http://H:1", "h:1", (), True),
        ("http://h:2", "h:1", (), False),
        ("http://h:1.evil", "h:1", (), False),
        ("null", "h:1", (), False),
        ("", "h:1", (), False),
        ("https://a", "h:1", ("https://a",), True),
        ("https://a.evil", "h:1", ("https://a",), False),
        ("https://b", "h:1", ("*",), True),
        ("http://h:1", "h:1", ("https://a",), True),
    ],
)
def test_origins(origin: str | None, host: str | None, allowed: tuple[str, ...], expected: bool) -> None:
    assert origin_allowed(origin, host, allowed) is expected


@pytest.mark.parametrize(
    ("query", "expected"), [("", False), ("node=n1", False), ("a=1&token=x", True), ("access_token", True)]
)
def test_tokens(query: str, expected: bool) -> None:
    assert names_token(query) is expected
