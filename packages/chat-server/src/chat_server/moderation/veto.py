"""The webhook before: another program is asked whether something may be said."""

from __future__ import annotations

import secrets
from typing import Annotated, Any

import msgspec
from attrs import define
from chat_common.clock import Clock
from chat_common.errors import NotPermitted, Unavailable
from chat_common.records import Caller, Interceptor
from chat_common.wire import SubmitMessage
from msgspec import Meta

from chat_server.moderation.sender import DeliveryFailed, Sender
from chat_server.moderation.settings import WebhookSettings
from chat_server.refusals import Refusals

ORDER = 9_100
"""Behind the lists of words: nobody is asked about what those refuse."""
RETRY_AFTER = 5.0


@define(kw_only=True)
class Asked:
    """What is sent. ``user``: null for somebody who is just making an account. ``target``: as interceptors know it."""

    type: str = "submit"
    time: int
    user: str | None
    target: str
    conversation: str
    kind: str
    body: Any
    reply_to: int | None
    mentions: list[str] | None


@define(kw_only=True)
class Answer:
    """What comes back. ``message``: a sentence for the person who is refused."""

    allow: bool
    message: Annotated[str, Meta(max_length=300)] = "This was refused."


class Veto:
    """The interceptor. An answer without a body is a yes."""

    def __init__(self, sender: Sender, settings: WebhookSettings, clock: Clock, refusals: Refusals) -> None:
        self._sender, self._settings, self._clock, self._refusals = sender, settings, clock, refusals
        self._answer = msgspec.json.Decoder(Answer)

    def interceptor(self) -> Interceptor:
        """What stands in the pipeline. Its own time limit lies behind that of the call, which keeps to the policy."""
        limit = self._settings.timeout + 1.0
        return Interceptor(
            "webhook", "submit", self.ask, order=ORDER, timeout=limit, on_error=self._settings.on_failure
        )

    async def ask(self, caller: Caller, said: SubmitMessage) -> SubmitMessage:
        """The same; `NotPermitted` with the other program's sentence, or `Unavailable` where it fails and the policy is
        ``closed``."""
        body = Asked(
            time=self._clock.wall_ms(),
            user=caller.user,
            target=said.target,
            conversation=said.conversation,
            kind=said.kind,
            body=said.body,
            reply_to=said.reply_to,
            mentions=said.mentions,
        )
        try:
            content = await self._sender.post(f"ask_{secrets.token_urlsafe(16)}", msgspec.json.encode(body))
            answer = self._answer.decode(content) if content.strip() else Answer(allow=True)
        except (DeliveryFailed, msgspec.MsgspecError, UnicodeDecodeError) as error:
            why = str(error) if isinstance(error, DeliveryFailed) else "the answer is not of the form expected"
            self._refusals.note("webhook_failed", why=why, policy=self._settings.on_failure)
            if self._settings.on_failure == "open":
                return said
            raise Unavailable("What is said here cannot be checked now.", retry_after=RETRY_AFTER) from error
        if not answer.allow:
            self._refusals.note("webhook", target=said.target)
            raise NotPermitted(answer.message)
        return said
