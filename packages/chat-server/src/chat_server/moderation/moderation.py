"""Moderation put together from its settings: what stands in the pipeline, and what runs beside it."""

from __future__ import annotations

from collections.abc import Sequence

from chat_common.clock import Clock
from chat_common.plugins import Owned, Owner
from chat_common.records import Interceptor
from chat_common.settings import SetupError

from chat_server.contributions import RoomContributions
from chat_server.moderation.sender import Sender
from chat_server.moderation.settings import WebhookSettings, WordSettings
from chat_server.moderation.told import Teller
from chat_server.moderation.veto import Veto
from chat_server.moderation.words import Words
from chat_server.refusals import Refusals
from chat_server.signing import signer
from chat_server.store.executor import CommandExecutor

OWNER = Owner("chat_server.moderation")


class Moderation:
    """`SetupError`: a list cannot be read, an address or the secret is none, or a package is missing."""

    def __init__(self, words: WordSettings, webhooks: WebhookSettings, clock: Clock, refusals: Refusals) -> None:
        self._words = Words(words, refusals)
        self._settings = webhooks
        self._before: Sender | None = None
        self._after: Sender | None = None
        if webhooks.before or webhooks.after:
            key = signer(webhooks)
            if webhooks.before:
                self._before = Sender("before", webhooks.before, key, webhooks.timeout, clock)
            if webhooks.after:
                self._after = Sender("after", webhooks.after, key, webhooks.after_timeout, clock)
        elif webhooks.secret or webhooks.secret_file:
            raise SetupError("[webhooks] has a secret and no address: set before or after.")
        self._veto = None if self._before is None else Veto(self._before, webhooks, clock, refusals)

    def interceptors(self) -> Sequence[Owned[Interceptor]]:
        """What stands at the point ``submit``; nothing without settings."""
        found = [*self._words.interceptors(), *([] if self._veto is None else [self._veto.interceptor()])]
        return [Owned(each, OWNER) for each in found]

    def contributions(self, executor: CommandExecutor) -> Sequence[RoomContributions]:
        """Consumers and tasks."""
        found = [self._words.contributions(executor)]
        if self._after is not None:
            teller = Teller(self._after, self._settings.attempts, executor)
            found.append(RoomContributions(room="webhooks", consumers=[teller.consumer()]))
        return found

    async def close(self) -> None:
        """End the connections to the webhooks."""
        for each in (self._before, self._after):
            if each is not None:
                await each.close()
