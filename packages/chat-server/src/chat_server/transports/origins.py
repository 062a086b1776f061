"""Who may open a WebSocket from a browser, and what never stands in its address."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import parse_qs, urlsplit

PATH = "/ws"
_TOKENS = frozenset({"token", "access_token"})


def origin_allowed(origin: str | None, host: str | None, allowed: Sequence[str]) -> bool:
    """Whether this Origin header may connect. None (no browser) always may.

    The server's own origin, which is what the Host header says, always may: the web client lives there. ``allowed``
    holds others, such as ``https://chat.example`` or ``*``.
    """
    if origin is None or "*" in allowed or origin in allowed:
        return True
    return host is not None and urlsplit(origin).netloc.lower() == host.lower()


def names_token(query: str) -> bool:
    """Whether a query string carries a token: it would end up in logs, so it is refused."""
    return not _TOKENS.isdisjoint(parse_qs(query, keep_blank_values=True)) if query else False
