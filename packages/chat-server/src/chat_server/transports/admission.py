"""How many connections there may be: in all, and from one address."""

from __future__ import annotations

import ipaddress
from collections import Counter

from chat_common.errors import ChatError, RateLimited, Unavailable

from chat_server.counting import counted_as
from chat_server.refusals import Refusals
from chat_server.transports.peers import Peers
from chat_server.transports.settings import ConnectionSettings

RESERVE = 128
"""Files that the process opens beside its connections: database, log, uploads, other servers."""
AGAIN = 10.0
"""Seconds after which somebody who was turned away may try again."""

try:
    import resource
except ImportError:  # Windows has no such limit.
    resource = None  # type: ignore[assignment]


def file_limit() -> int | None:
    """How many files this process may open once it has raised its limit; None: there is no limit."""
    if resource is None:
        return None
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return None if hard == resource.RLIM_INFINITY else hard


def raise_file_limit() -> int | None:
    """Let this process open as many files as it may: the soft limit becomes the hard one, which is returned."""
    if resource is not None:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft != hard:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return file_limit()


class Admission:
    """Counts the connections of one process. Neither this machine nor a trusted proxy is one address among others."""

    def __init__(
        self, settings: ConnectionSettings, peers: Peers, refusals: Refusals, *, files: int | None = None
    ) -> None:
        """``files``: how many the process may open; the connections leave it `RESERVE` of them."""
        self.settings = settings
        self.peers = peers
        self.refusals = refusals
        self.most = settings.max_connections
        if files is not None:
            self.most = max(1, min(self.most, files - RESERVE))
        self.number = 0
        self._by_address: Counter[str] = Counter()

    def enter(self, host: str | None) -> ChatError | None:
        """A connection has come from there, and counts until `leave`, refused or not. What is returned says why not."""
        self.number += 1
        refused = self.join(host)
        if refused is None and self.number > self.most:
            self.refusals.note("connections", most=self.most)
            return Unavailable(
                "The server has as many connections as it can serve. Try again later.", retry_after=AGAIN
            )
        return refused

    def leave(self, host: str | None) -> None:
        """It is gone."""
        self.number -= 1
        self.part(host)

    def join(self, address: str | None) -> ChatError | None:
        """Count this address alone: for a client whose connection is its proxy's. It counts until `part`."""
        if address is None or self.exempt(address):
            return None
        full = None
        for key, times in counted_as(address):
            self._by_address[key] += 1
            if self._by_address[key] > self.settings.per_address * times:
                full = self.settings.per_address * times
        if full is None:
            return None
        self.refusals.note("connections_of_one_address", address=address, most=full)
        return RateLimited(
            f"There are already {full} connections from your address. Close some of them and try again.",
            limit=full,
            retry_after=AGAIN,
        )

    def part(self, address: str | None) -> None:
        """The end of what `join` counted."""
        if address is None or self.exempt(address):
            return
        for key, _ in counted_as(address):
            self._by_address[key] -= 1
            if self._by_address[key] <= 0:
                del self._by_address[key]

    def exempt(self, address: str) -> bool:
        """Whether many may come from there: this machine, or a proxy that is trusted."""
        try:
            return ipaddress.ip_address(address).is_loopback or self.peers.trusts(address)
        except ValueError:
            return False
