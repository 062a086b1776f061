"""Which pages may use the server from a browser, and what never stands in its address."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import parse_qs, urlsplit

from chat_server.refusals import Refusals
from chat_server.transports.hosts import Hosts

PATH = "/ws"
SHOWN = 200
"""Characters of an origin that are logged."""
_TOKENS = frozenset({"token", "access_token"})
_PORTS = {"http": 80, "https": 443}


class Origins:
    """The server's own origin, which is what the Host header or ``public_url`` says, and the ``allowed`` others, such
    as ``https://chat.example`` or ``*``."""

    def __init__(
        self,
        allowed: Sequence[str] = (),
        *,
        public_url: str = "",
        hosts: Sequence[str] | None = None,
        refusals: Refusals | None = None,
    ) -> None:
        """``hosts``: names by which pages may use the server, see `Hosts`; None: whatever the Host header says."""
        self.others = tuple(allowed)
        self.public = _origin(public_url) or ""
        self._refusals = refusals or Refusals()
        self._hosts = None if hosts is None else Hosts(hosts, public_url)
        self._accepted = {_origin(each) or each for each in [*allowed, *([self.public] if self.public else [])]}

    def refusal(self, origin: str | None, host: str | None) -> str | None:
        """Why a page of this origin may not connect, as a sentence; None: it may. No origin (no browser) always may.

        A refused one is logged with what would have been accepted, since behind a proxy this is what goes wrong first.
        """
        if origin is None or "*" in self._accepted:
            return None
        found = _origin(origin)
        if found is not None and found in self._accepted:
            return None
        if found is not None and _same_host(found, host):
            if self._hosts is None or self._hosts.knows(urlsplit(found).hostname or ""):
                return None
            # A name that a stranger has pointed here makes the stranger's page look like the server's own.
            self._refusals.note("host", host=(host or "")[:SHOWN])
            return (
                f"This server does not go by the name {(host or '')[:SHOWN]!r}. If it is its name, set [server]"
                " public_url to the whole address, or add the name to [server] hosts."
            )
        accepted = sorted(self._accepted) + ([f"that of Host: {host[:SHOWN]}"] if host else [])
        self._refusals.note("origin", origin=origin[:SHOWN], accepted=accepted)
        return (
            f"Pages of {origin[:SHOWN]!r} may not connect here. If it is the address of this server, set [server]"
            " public_url to it; if it is another site's, add it to [server] allowed_origins."
        )


def _same_host(origin: str, host: str | None) -> bool:
    if host is None:
        return False
    scheme, _, mine = origin.partition("://")
    return _origin(f"{scheme}://{host}") == f"{scheme}://{mine}"


def _origin(url: str) -> str | None:
    """``scheme://host[:port]`` in lower case, without the port that the scheme implies; None: it has none."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    if not parts.scheme or not parts.hostname or "@" in parts.netloc:
        return None
    name = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    default = port is None or port == _PORTS.get(parts.scheme)
    return f"{parts.scheme}://{name}" + ("" if default else f":{port}")


def names_token(query: str) -> bool:
    """Whether a query string carries a token: it would end up in logs, so it is refused."""
    try:
        return not _TOKENS.isdisjoint(parse_qs(query, keep_blank_values=True)) if query else False
    except ValueError:  # More fields than anybody needs.
        return True
