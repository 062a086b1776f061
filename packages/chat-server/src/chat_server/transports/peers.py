"""Who is at the other end: the address that a request came from, with proxies in between or not."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence

import structlog
from attrs import frozen
from chat_common.settings import SetupError
from starlette.types import ASGIApp, Receive, Scope, Send

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Headers = Iterable[tuple[bytes, bytes]]

HOPS = 32
"""Addresses of a forwarding header that are looked at, from the right."""
_HERE = ipaddress.IPv4Address("127.0.0.1")
_FORWARDING = frozenset({b"forwarded", b"x-forwarded-for", b"x-forwarded-proto"})

log = structlog.get_logger("chat.peers")


@frozen
class Peer:
    """``address`` is None for this machine itself, which is counted nowhere. ``scheme`` is ``http`` or ``https``."""

    address: str | None
    scheme: str


class Peers:
    """Tells the peer of a request. ``trusted`` holds the networks of the proxies whose forwarding headers are believed,
    and ``unix`` for whoever connects by a Unix socket.

    From the right, the first address that is not a trusted proxy is the peer: what stands left of it, anybody may have
    written. A forwarding header from anybody else is ignored, and said once. A connection from this machine itself is
    exempt from counting only without a forwarding header, since with one it is a proxy that is not trusted yet.
    """

    def __init__(self, trusted: Sequence[str] = ()) -> None:
        self._unix = "unix" in trusted
        try:
            self._trusted = [ipaddress.ip_network(each.strip(), strict=False) for each in trusted if each != "unix"]
        except ValueError as error:
            raise SetupError(
                f"[server] trusted_proxies: {error}; write addresses or networks such as 10.0.0.0/8"
            ) from None
        self._said = False

    def of(self, host: str | None, headers: Headers, scheme: str = "http") -> Peer:
        """``host`` is the address of the connection, ``headers`` are the request's, in lower case or not."""
        if host is None and not self._unix:
            return Peer(None, scheme)
        forwarding = [(name, value) for name, value in _lower(headers) if name in _FORWARDING]
        if host is None:
            return self._far(_HERE, forwarding, scheme) if forwarding else Peer(None, scheme)
        near = _address(host)
        if near is None:
            return Peer(host, scheme)
        if not forwarding:
            return Peer(None if near.is_loopback else str(near), scheme)
        if not self._trusts(near):
            self._ignored(near)
            return Peer(str(near), scheme)
        return self._far(near, forwarding, scheme)

    def trusts(self, address: str) -> bool:
        """Whether it is one of these proxies."""
        found = _address(address)
        return found is not None and self._trusts(found)

    def _trusts(self, address: Address) -> bool:
        return any(address in network for network in self._trusted if network.version == address.version)

    def _far(self, near: Address, headers: Sequence[tuple[bytes, bytes]], scheme: str) -> Peer:
        hops = _values(headers, b"x-forwarded-for")
        schemes = _values(headers, b"x-forwarded-proto")
        if not hops:
            elements = [_element(each) for each in _values(headers, b"forwarded")]
            hops = [each.get("for", "") for each in elements]
            schemes = schemes or [each["proto"] for each in elements if "proto" in each]
        for hop in reversed(hops[-HOPS:]):
            found = _address(hop)
            if found is None:
                break  # Such as `unknown`: the proxy that says so is the last that is known.
            near = found
            if not self._trusts(near):
                break
        said = schemes[-1].lower() if schemes else scheme
        return Peer(str(near), said if said in ("http", "https") else scheme)

    def _ignored(self, near: Address) -> None:
        if not self._said:
            self._said = True
            log.warning(
                "forwarding_header_ignored",
                peer=str(near),
                reason="it is not among [server] trusted_proxies, so all that come through it are counted as one",
            )


class PeerOf:
    """An ASGI application in front of another: its ``client`` and ``scheme`` become those of the `Peer`."""

    def __init__(self, app: ASGIApp, peers: Peers) -> None:
        self._app, self._peers = app, peers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        client = scope.get("client")
        secure = scope.get("scheme") in ("https", "wss")
        peer = self._peers.of(str(client[0]) if client else None, scope["headers"], "https" if secure else "http")
        scheme = peer.scheme if scope["type"] == "http" else {"http": "ws", "https": "wss"}[peer.scheme]
        known = (peer.address, client[1] if client else 0) if peer.address is not None else None
        await self._app({**scope, "client": known, "scheme": scheme}, receive, send)


def _lower(headers: Headers) -> Iterable[tuple[bytes, bytes]]:
    return ((name.lower(), value) for name, value in headers)


def _values(headers: Sequence[tuple[bytes, bytes]], name: bytes) -> list[str]:
    """The elements of a list that may stand on several lines, in order."""
    joined = ",".join(value.decode("latin-1") for found, value in headers if found == name)
    return [each.strip() for each in joined.split(",") if each.strip()]


def _element(text: str) -> dict[str, str]:
    """One element of `Forwarded` (RFC 7239). A comma inside of quotes ends it too early: then it is unknown."""
    pairs = (part.partition("=") for part in text.split(";"))
    return {name.strip().lower(): value.strip().strip('"') for name, _, value in pairs}


def _address(text: str) -> Address | None:
    """An address as headers write it: bare, with a port, in brackets, with a zone."""
    bare = text.strip().strip('"')
    if bare.startswith("["):
        bare = bare[1:].partition("]")[0]
    elif bare.count(":") == 1:
        bare = bare.partition(":")[0]
    try:
        found = ipaddress.ip_address(bare.partition("%")[0])
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return mapped or found
