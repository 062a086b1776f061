"""The providers that come with the server. What they need beside this package is imported when one is chosen."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from chat_common.ports.objects import DataFolder
from chat_common.ports.push import PushProvider
from chat_common.records import Backend, Context
from chat_common.settings import SetupError

from chat_server.auth.public_address import PublicAddress
from chat_server.push.calls import PushCalls
from chat_server.push.settings import WebhookPushSettings, WebPushSettings
from chat_server.signing import signer

KEY_FILE = "vapid.pem"


def key_file(settings: WebPushSettings, folder: Path) -> Path:
    """Where the VAPID key is."""
    return Path(settings.key_file) if settings.key_file else folder / KEY_FILE


@asynccontextmanager
async def _webpush(context: Context) -> AsyncIterator[PushProvider]:
    settings: WebPushSettings = context.settings
    async with PushCalls.open("webpush", settings.timeout, context.clock) as calls:
        from chat_server.push.endpoints import Endpoints
        from chat_server.push.vapid import Vapid, read_key
        from chat_server.push.webpush import WebPush

        if any("/" in each or not each.isascii() for each in settings.services):
            raise SetupError("[push_provider.webpush] services: names of hosts are expected, without https://.")
        key = read_key(key_file(settings, (await context.get(DataFolder)).path))
        page = (await context.get(PublicAddress)).public
        endpoints = Endpoints(settings.services, context.clock, internal=settings.internal)
        yield WebPush(endpoints, Vapid(key, settings.subject, context.clock), calls, page)


@asynccontextmanager
async def _webhook(context: Context) -> AsyncIterator[PushProvider]:
    settings: WebhookPushSettings = context.settings
    async with PushCalls.open("webhook", settings.timeout, context.clock) as calls:
        from chat_server.push.webhook import WebhookPush

        yield WebhookPush(settings.url, signer(settings, "push_provider.webhook"), calls)


BACKENDS = (
    Backend(PushProvider, "webpush", _webpush, WebPushSettings, "Browsers, by Web Push: signed and encrypted."),
    Backend(PushProvider, "webhook", _webhook, WebhookPushSettings, "Another program, for platforms of vendors."),
)
