"""Messages that an application says in its own transaction: intents first, submits after the commit."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec
from attrs import frozen
from chat_common.decoding import prepare
from chat_common.errors import ChatError, Internal, Invalid, RateLimited, Unavailable
from chat_common.ports.broker import BrokerRecord
from chat_common.ports.outbox import OutboxEntry, checked
from chat_common.records import Caller, Consumer
from chat_common.validation import check_text, exact_json
from chat_common.wire import SubmitMessage

from chat_transaction.consumers.consumption import Unprocessable

SUBMIT_TOPIC = "submit"
SENDER_LIMIT, REF_LIMIT = 255, 64
"""Characters at most."""

Submit = Callable[[Caller, SubmitMessage], Awaitable[Any]]
"""Carries out one submit as its caller's, once by the caller's ``ref``: in process, or over HTTP."""


@frozen(kw_only=True)
class Intent:
    """What a row of the topic ``submit`` says."""

    sender: str
    ref: str
    request: SubmitMessage


prepare(Intent)


def submit_entry(request: SubmitMessage, *, sender: str, ref: str | None = None, delay: float = 0.0) -> OutboxEntry:
    """The outbox entry that says ``request`` in the name of the user ``sender`` after commit, once.

    ``ref`` (1 to 64 characters) is its idempotency key among all that this sender ever says; made up when absent.
    `Invalid` (with field and limit) when the request, the sender, the ref or the delay cannot be right.
    """
    check_text(sender, "sender", SENDER_LIMIT)
    ref = secrets.token_hex(16) if ref is None else check_text(ref, "ref", REF_LIMIT)
    payload = exact_json(Intent(sender=sender, ref=ref, request=request), "intent")
    try:
        msgspec.json.decode(payload, type=Intent)
    except msgspec.ValidationError as error:
        raise Invalid(f"The request is not a message to submit: {error}", field="request") from error
    return checked(OutboxEntry(SUBMIT_TOPIC, request.conversation, payload, delay))


def submitting(submit: Submit, *, attempts: int = 10_000) -> Consumer:
    """The consumer that carries intents out: in order per conversation, refused ones become dead letters.

    What is refused for good (no member, invalid, another message under this ref) is not tried again; what may pass
    (rate limit, unavailable, a network error) is, ``attempts`` times: with the usual pauses of up to a minute a chat
    may be away for days.
    """

    async def handle(records: Sequence[BrokerRecord]) -> None:
        for record in records:
            try:
                intent = msgspec.json.decode(record.payload, type=Intent)
            except msgspec.MsgspecError as error:
                raise Unprocessable(f"The payload is not an intent: {error}") from error
            try:
                await submit(Caller(user=intent.sender, ref=intent.ref), intent.request)
            except (RateLimited, Unavailable, Internal):
                raise
            except ChatError as error:
                raise Unprocessable(f"{error.code}: {error.message}") from error

    return Consumer(SUBMIT_TOPIC, "chat", handle, batch=50, attempts=attempts)
