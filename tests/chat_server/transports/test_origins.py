"""Which origins may connect, and that a token in the address is noticed."""

from __future__ import annotations

import pytest
from chat_server.refusals import Refusals
from chat_server.transports.origins import Origins, names_token
from structlog.testing import capture_logs


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
        ("https://h", "h:443", (), True),
        ("https://h:443", "h", (), True),
        ("http://[::1]:8080", "[::1]:8080", (), True),
        ("HTTPS://A/", "h", ("https://a",), True),
        ("https://a", "h", ("https://a/",), True),
        # What is no origin is refused like a foreign one, whatever the Host is.
        ("http://[", "[", (), False),
        ("http://h:x", "h:x", (), False),
        ("http://h:99999", "h:99999", (), False),
        ("http://u@h", "u@h", (), False),
        ("h:1", "h:1", (), False),
        ("http://a, http://h", "h", (), False),
        ("http://h\u2100", "h", (), False),
    ],
)
def test_origins(origin: str | None, host: str | None, allowed: tuple[str, ...], expected: bool) -> None:
    assert (Origins(allowed).refusal(origin, host) is None) is expected


@pytest.mark.parametrize(
    ("query", "expected"), [("", False), ("node=n1", False), ("a=1&token=x", True), ("access_token", True)]
)
def test_tokens(query: str, expected: bool) -> None:
    assert names_token(query) is expected


def test_the_public_address_is_an_own_origin() -> None:
    origins = Origins(public_url="https://chat.example:8443/prefix/")
    assert origins.refusal("https://chat.example:8443", "127.0.0.1:8080") is None
    assert origins.refusal("https://chat.example", "127.0.0.1:8080") is not None
    assert origins.public == "https://chat.example:8443"


def test_a_refused_origin_is_said_with_what_would_be_accepted() -> None:
    refusals = Refusals()
    origins = Origins(["https://app.example"], public_url="https://chat.example", refusals=refusals)
    with capture_logs() as logs:
        said = [origins.refusal("https://evil.example", "127.0.0.1:8080") for _ in range(3)]
    assert said[0] is not None
    assert "https://evil.example" in said[0]
    assert refusals.counts["origin"] == 3
    (line,) = logs
    assert (line["event"], line["reason"], line["origin"]) == ("refused", "origin", "https://evil.example")
    assert line["accepted"] == ["https://app.example", "https://chat.example", "that of Host: 127.0.0.1:8080"]
