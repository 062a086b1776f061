"""Signed permissions of the local store: what a link allows, as query parameters with an HMAC over all of them."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping

import msgspec
from attrs import frozen
from chat_common.decoding import prepare


class BadTicket(Exception):
    """The signature does not fit, or the time is over."""


@frozen
class Ticket:
    """One permission: ``method`` on ``key`` until ``expires_at`` (ms since 1970).

    For what goes in: exactly ``size`` bytes as ``type``, as part ``number`` of ``upload`` when given.
    For what goes out: the file ``name`` and ``type`` to answer with, shown ``inline`` or not, as ``utf8`` when a
    text is known to be.
    """

    method: str
    key: str
    expires_at: int
    size: int = 0
    type: str = ""
    upload: str = ""
    number: int = 0
    name: str = ""
    inline: bool = False
    utf8: bool = False


prepare(Ticket)


def seal(secret: bytes, ticket: Ticket) -> dict[str, str]:
    """The two query parameters that carry a ticket."""
    body = msgspec.json.encode(ticket)
    return {"ticket": _text(body), "signature": _sign(secret, body)}


def unseal(secret: bytes, query: Mapping[str, str], now_ms: int) -> Ticket:
    """The ticket that `seal` made; `BadTicket` for anything else, and when it is over."""
    try:
        body = _bytes(query["ticket"])
        given = query["signature"]
    except (KeyError, ValueError):
        raise BadTicket("This address is not a link: it carries no ticket.") from None
    if not hmac.compare_digest(_sign(secret, body).encode(), given.encode()):
        raise BadTicket("The signature of this link does not fit.")
    ticket = msgspec.json.decode(body, type=Ticket)
    if now_ms >= ticket.expires_at:
        raise BadTicket("This link has expired. Ask for a new one.")
    return ticket


def _sign(secret: bytes, body: bytes) -> str:
    return hmac.new(secret, b"chat-oss ticket 1\0" + body, hashlib.sha256).hexdigest()


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
