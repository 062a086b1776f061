"""Whom a request is taken to come from, with headers that tell the truth and headers that do not."""

from __future__ import annotations

from typing import Any

import pytest
from chat_common.settings import SetupError
from chat_server.transports.peers import Peer, PeerOf, Peers
from structlog.testing import capture_logs

PROXIES = ("10.0.0.0/8", "127.0.0.1", "2001:db8:ffff::/48")


def of(host: str | None, *headers: tuple[str, str], trusted: tuple[str, ...] = PROXIES) -> Peer:
    return Peers(trusted).of(host, [(name.encode(), value.encode("latin-1")) for name, value in headers])


@pytest.mark.parametrize(
    ("host", "headers", "address"),
    [
        ("192.0.2.7", [], "192.0.2.7"),
        ("127.0.0.1", [], None),
        ("::1", [], None),
        ("::ffff:127.0.0.1", [], None),
        (None, [("x-forwarded-for", "192.0.2.7")], None),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", [("x-forwarded-for", "192.0.2.7")], "192.0.2.7"),
        ("127.0.0.1", [("X-Forwarded-For", "192.0.2.7")], "192.0.2.7"),
        ("10.0.0.1", [("x-forwarded-for", "127.0.0.1")], "127.0.0.1"),
        # The right-most that is no proxy of ours: what stands left of it, the stranger wrote.
        ("10.0.0.1", [("x-forwarded-for", "1.1.1.1, 192.0.2.7, 10.0.0.9")], "192.0.2.7"),
        ("10.0.0.1", [("x-forwarded-for", "1.1.1.1"), ("x-forwarded-for", "192.0.2.7")], "192.0.2.7"),
        ("10.0.0.1", [("x-forwarded-for", "10.0.0.3, 10.0.0.2")], "10.0.0.3"),
        ("10.0.0.1", [("x-forwarded-for", "1.1.1.1, unknown, 10.0.0.9")], "10.0.0.9"),
        ("10.0.0.1", [("x-forwarded-for", "192.0.2.7:4711")], "192.0.2.7"),
        ("10.0.0.1", [("x-forwarded-for", "[2001:db8::7]:4711")], "2001:db8::7"),
        ("2001:db8:ffff::1", [("x-forwarded-for", "2001:db8::7")], "2001:db8::7"),
        ("10.0.0.1", [("forwarded", 'for=192.0.2.7;proto=https, for="[2001:db8:ffff::3]:80"')], "192.0.2.7"),
        ("10.0.0.1", [("forwarded", "for=_hidden;by=10.0.0.1")], "10.0.0.1"),
        ("10.0.0.1", [("forwarded", "for=1.1.1.1"), ("x-forwarded-for", "192.0.2.7")], "192.0.2.7"),
        # From whoever is not trusted it is ignored; and a proxy on this machine is not this machine.
        ("192.0.2.7", [("x-forwarded-for", "127.0.0.1")], "192.0.2.7"),
        ("192.0.2.7", [("forwarded", "for=10.0.0.1")], "192.0.2.7"),
        ("::1", [("x-forwarded-for", "192.0.2.7")], "::1"),
        ("::1", [("x-forwarded-proto", "https")], "::1"),
    ],
)
def test_the_right_most_untrusted_address_wins(host: str | None, headers: Any, address: str | None) -> None:
    assert of(host, *headers).address == address


@pytest.mark.parametrize(
    ("host", "headers", "scheme"),
    [
        ("10.0.0.1", [("x-forwarded-for", "192.0.2.7"), ("x-forwarded-proto", "https")], "https"),
        ("10.0.0.1", [("x-forwarded-for", "192.0.2.7"), ("x-forwarded-proto", "gopher")], "http"),
        ("10.0.0.1", [("forwarded", "for=192.0.2.7;proto=HTTPS")], "https"),
        ("192.0.2.7", [("x-forwarded-proto", "https")], "http"),
    ],
)
def test_the_scheme_is_the_trusted_proxys(host: str, headers: Any, scheme: str) -> None:
    assert of(host, *headers).scheme == scheme


def test_what_is_ignored_is_said_once() -> None:
    peers = Peers(())
    with capture_logs() as logs:
        for _ in range(3):
            peers.of("127.0.0.1", [(b"x-forwarded-for", b"192.0.2.7")])
    assert [(line["event"], line["peer"]) for line in logs] == [("forwarding_header_ignored", "127.0.0.1")]


def test_a_network_that_is_none_stops_the_start() -> None:
    with pytest.raises(SetupError, match="trusted_proxies"):
        Peers(("proxy.example",))


@pytest.mark.parametrize(("kind", "scheme"), [("http", "https"), ("websocket", "wss")])
async def test_an_application_behind_it_sees_the_peer(kind: str, scheme: str) -> None:
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope)

    async def nothing(*_: Any) -> Any: ...

    headers = [(b"x-forwarded-for", b"192.0.2.7"), (b"x-forwarded-proto", b"https")]
    scope = {"type": kind, "client": ("10.0.0.1", 4711), "scheme": "http", "headers": headers}
    await PeerOf(app, Peers(PROXIES))(scope, nothing, nothing)
    assert (seen[0]["client"][0], seen[0]["scheme"]) == ("192.0.2.7", scheme)
    await PeerOf(app, Peers(PROXIES))({**scope, "client": ("127.0.0.1", 1), "headers": []}, nothing, nothing)
    assert seen[1]["client"] is None
