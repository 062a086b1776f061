"""The provider ``webhook``: another program tells the devices, by whatever platform it speaks.

Signed by the Standard Webhooks specification, as the webhooks of moderation are: over id, time stamp and body. The id
is the same at every attempt, so that a program knows a repetition; what is replayed later, it knows by the time stamp.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Annotated, Any
from urllib.parse import urlsplit

import msgspec
from attrs import define, field
from chat_common.ports.push import Address, Notification, Outcome, PushProvider, Result
from chat_common.settings import SetupError
from msgspec import Meta

from chat_server.outgoing import NoAnswer
from chat_server.push.calls import PushCalls
from chat_server.signing import Signer

LONGEST_TEXT = 1_000
"""Characters: no vendor shows more of it."""


class Said(Enum):
    """What became of a notification at one address."""

    DELIVERED = "delivered"
    GONE = "gone"
    LATER = "later"
    REFUSED = "refused"


@define(kw_only=True)
class SaidOutcome:
    """``retry_after`` in seconds, for ``later``."""

    result: Said
    retry_after: Annotated[float, Meta(ge=0)] | None = None
    reason: Annotated[str, Meta(max_length=200)] = ""


@define(kw_only=True)
class Reply:
    """What comes back: an outcome for each address, in their order. No body at all: all are delivered."""

    outcomes: list[SaidOutcome] = field(factory=list)


@define(kw_only=True)
class Told:
    """What is sent: who is told what, and where. ``collapse``: replaces what was shown under the same key before."""

    type: str = "push"
    user: str
    conversation: str
    seq: int
    title: str
    text: str
    collapse: str
    ttl: int
    urgent: bool
    addresses: list[dict[str, Any]]


class WebhookPush(PushProvider):
    """`SetupError`: ``url`` is no address of HTTP."""

    def __init__(self, url: str, signer: Signer, calls: PushCalls) -> None:
        found = urlsplit(url)
        if found.scheme not in ("http", "https") or not found.hostname or found.username is not None:
            raise SetupError("[push_provider.webhook] url: an address with http:// or https:// and a host is expected.")
        self._url, self._signer, self._calls = url, signer, calls
        self._reply = msgspec.json.Decoder(Reply)

    async def send(self, notification: Notification, addresses: Sequence[Address]) -> Sequence[Outcome]:
        """See `PushProvider.send`. All addresses travel in one call. A status that is no success says nothing of an
        address, not even 404: it is tried again later."""
        if not addresses:
            return []
        body = msgspec.json.encode(self._told(notification, addresses))
        try:
            answer = await self._calls.post(self._url, body, self._headers(notification, addresses, body))
        except NoAnswer as error:
            return [Outcome(Result.LATER, reason=str(error))] * len(addresses)
        if not 200 <= answer.status < 300:
            told = self._calls.outcome(answer)
            return [Outcome(Result.LATER, told.retry_after, f"status {answer.status}")] * len(addresses)
        if not answer.body.strip():
            return [Outcome(Result.DELIVERED)] * len(addresses)
        try:
            said = self._reply.decode(answer.body).outcomes
        except msgspec.MsgspecError:
            said = []
        if len(said) != len(addresses):
            return [Outcome(Result.LATER, reason="The answer is not of the form expected.")] * len(addresses)
        return [Outcome(Result(each.result.value), each.retry_after, each.reason) for each in said]

    def _told(self, notification: Notification, addresses: Sequence[Address]) -> Told:
        text = notification.text
        return Told(
            user=notification.user,
            conversation=notification.conversation,
            seq=notification.seq,
            title=notification.title,
            text=text if len(text) <= LONGEST_TEXT else text[: LONGEST_TEXT - 1] + "…",
            collapse=notification.collapse,
            ttl=notification.ttl,
            urgent=notification.urgent,
            addresses=[{"device": each.device, "values": dict(each.values)} for each in addresses],
        )

    def _headers(self, notification: Notification, addresses: Sequence[Address], body: bytes) -> Mapping[str, str]:
        told = [
            notification.user,
            notification.conversation,
            str(notification.seq),
            *(each.device for each in addresses),
        ]
        name = f"push_{hashlib.sha256(msgspec.json.encode(told)).hexdigest()[:32]}"
        signed = self._signer.headers(name, self._calls.clock.wall_ms() // 1000, body)
        return {"content-type": "application/json", **signed}
