"""The address for links, and the warning where no phone can open it."""

from __future__ import annotations

import socket

import pytest
from chat_server.auth import public_address
from chat_server.auth.public_address import PublicAddress, own_address


@pytest.mark.parametrize(
    ("public", "host", "expected"),
    [
        ("https://chat.example/app/", "127.0.0.1", "https://chat.example/app"),
        ("", "127.0.0.1", "http://127.0.0.1:8080"),
        ("", "::1", "http://[::1]:8080"),
        ("", "192.0.2.9", "http://192.0.2.9:8080"),
        ("", "0.0.0.0", "http://198.51.100.4:8080"),
        ("", "::", "http://198.51.100.4:8080"),
    ],
)
def test_the_address(monkeypatch: pytest.MonkeyPatch, public: str, host: str, expected: str) -> None:
    monkeypatch.setattr(public_address, "own_address", lambda family=socket.AF_INET: "198.51.100.4")
    assert PublicAddress(public, host, 8080).url == expected


def test_without_a_network_it_is_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(public_address, "own_address", lambda family=socket.AF_INET: None)
    made = PublicAddress("", "0.0.0.0", 8080)
    made.listening("0.0.0.0", 4711)
    assert made.url == "http://127.0.0.1:4711"
    assert "no phone can open http://127.0.0.1:4711" in str(made.warning(made.url))


@pytest.mark.parametrize(
    ("url", "warned"),
    [
        ("http://localhost:8080", True),
        ("http://127.3.2.1:8080", True),
        ("http://[::1]:8080", True),
        ("http://chat.localhost", True),
        ("https://chat.example", False),
        ("http://192.168.1.7:8080", False),
    ],
)
def test_the_warning(url: str, warned: bool) -> None:
    assert (PublicAddress("", "127.0.0.1", 8080).warning(url) is not None) is warned


def test_looking_for_the_own_address_sends_nothing_and_fails_quietly(monkeypatch: pytest.MonkeyPatch) -> None:
    found = own_address()
    assert found is None or found.count(".") == 3

    class Unroutable(socket.socket):
        def connect(self, address: object) -> None:
            raise OSError("Network is unreachable")

    monkeypatch.setattr(socket, "socket", Unroutable)
    assert own_address() is None
