"""The address under which phones reach this server."""

from __future__ import annotations

import ipaddress
import socket
from urllib.parse import urlsplit

import structlog

from chat_server.asked_address import asked_address

log = structlog.get_logger("chat.auth")
ELSEWHERE = {socket.AF_INET: "192.0.2.1", socket.AF_INET6: "2001:db8::1"}
"""Addresses of the documentation (RFC 5737, RFC 3849): nobody has them."""


def own_address(family: socket.AddressFamily = socket.AF_INET) -> str | None:
    """This machine's address towards others; None without a network. Nothing is sent: UDP connects by routing alone."""
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((ELSEWHERE[family], 9))
            return str(probe.getsockname()[0])
    except OSError:
        return None


class PublicAddress:
    """The address for links. ``public_url`` where it is set; else, for a server that listens itself, one guessed from
    where; else, for one inside an application, the address under which the request came."""

    def __init__(self, public_url: str, host: str, port: int) -> None:
        self._public = public_url.rstrip("/")
        self._host, self._port = host, port
        self._listens = False
        self._warned = False

    def listening(self, host: str, port: int) -> None:
        """The server has come up there: port 0 has become a real one."""
        self._host, self._port = host, port
        self._listens = True

    @property
    def public(self) -> str:
        """What is set, without a slash at its end; empty where nothing is."""
        return self._public

    @property
    def url(self) -> str:
        """Without a slash at its end."""
        if self._public:
            return self._public
        if not self._listens and (asked := asked_address.get()) is not None:
            return asked
        host = self._host
        if host in ("0.0.0.0", "::", ""):
            host = own_address() or own_address(socket.AF_INET6) or "127.0.0.1"
        return f"http://{f'[{host}]' if ':' in host else host}:{self._port}"

    def reachable(self, url: str) -> bool:
        """Whether other machines can open this address, that is, it is not a loopback address."""
        return not _only_here(urlsplit(url).hostname or "")

    def warning(self, url: str) -> str | None:
        """Why no phone can open this address; also logged, once."""
        if self.reachable(url):
            return None
        said = f"no phone can open {url}: start with --host 0.0.0.0, or set server.public_url to the address it can use"
        if not self._warned:
            self._warned = True
            log.warning("login_link_out_of_reach", reason=said)
        return said


def _only_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
