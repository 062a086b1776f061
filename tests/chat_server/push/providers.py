"""The providers, each in front of its stand-in."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from typing import Any

from chat_common.clock import Clock, SystemClock
from chat_server.moderation.settings import WebhookSettings
from chat_server.push.calls import PushCalls
from chat_server.push.endpoints import Endpoints
from chat_server.push.vapid import Vapid
from chat_server.push.webhook import WebhookPush
from chat_server.push.webpush import WebPush
from chat_server.signing import signer
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key

from tests.chat_server.moderation.receiver import SECRET
from tests.standins.push_service import PushService
from tests.standins.vendor_bridge import VendorBridge


@cache
def vapid_key() -> Any:
    return generate_private_key(SECP256R1())


@asynccontextmanager
async def web_push(
    service: PushService, *, clock: Clock | None = None, page: str = "", timeout: float = 60.0
) -> AsyncIterator[WebPush]:
    clock = clock or SystemClock()
    async with PushCalls.open("webpush", timeout, clock) as calls:
        vapid = Vapid(vapid_key(), "mailto:ops@example.org", clock)
        service.key = vapid.public
        yield WebPush(Endpoints([], clock, internal=True), vapid, calls, page)


@asynccontextmanager
async def webhook_push(bridge: VendorBridge, *, timeout: float = 60.0) -> AsyncIterator[WebhookPush]:
    async with PushCalls.open("webhook", timeout, SystemClock()) as calls:
        yield WebhookPush(bridge.url, signer(WebhookSettings(secret=SECRET)), calls)
