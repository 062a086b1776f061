"""The provider ``webpush``: browsers, by RFC 8030, encrypted by RFC 8291, signed by RFC 8292.

Own requests with httpx2, http_ece and PyJWT rather than pywebpush: that holds a thread for as long as a service takes,
64 of them at a time, does not keep to the size that services take, and brings two more HTTP clients.

The services of browsers see who is told, when, and how much, and never what.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from attrs import frozen
from chat_common.errors import Invalid
from chat_common.ports.push import Address, Notification, Outcome, PushProvider, Result

from chat_server.push.calls import PushCalls, each, fitted
from chat_server.push.endpoints import Endpoint, Endpoints
from chat_server.push.vapid import Vapid, unpadded

PAYLOAD_BYTES = 3_000
"""Services take 4,096 with what encryption adds (RFC 8030); less leaves room for the padding of some."""
MAGIC = 8030
"""Safari shows what carries this number without a service worker."""
LONGEST_TITLE = 200
UNCOMPRESSED, SECRET = 65, 16
"""Bytes of the two keys of a subscription (RFC 8291)."""


@frozen
class Subscription:
    """What a browser subscribed with: ``PushSubscription.toJSON()``."""

    endpoint: Endpoint
    key: bytes
    secret: bytes


class WebPush(PushProvider):
    """``page``: the address of the chat's page, for browsers that show a notification without the page's worker; empty
    where this server does not know it."""

    def __init__(self, endpoints: Endpoints, vapid: Vapid, calls: PushCalls, page: str = "") -> None:
        self._endpoints, self._vapid, self._calls, self._page = endpoints, vapid, calls, page

    def public(self) -> Mapping[str, str]:
        """The key that pages subscribe with: ``applicationServerKey``."""
        return {"key": self._vapid.public}

    def check(self, values: Mapping[str, Any]) -> None:
        """See `PushProvider.check`."""
        self._read(values)

    async def send(self, notification: Notification, addresses: Sequence[Address]) -> Sequence[Outcome]:
        """See `PushProvider.send`."""
        payload = self._payload(notification)
        headers = {
            "content-encoding": "aes128gcm",
            "content-type": "application/octet-stream",
            "ttl": str(notification.ttl),
            "urgency": "high" if notification.urgent else "normal",
            "topic": topic(notification.collapse),
        }

        async def one(address: Address) -> Outcome:
            try:
                subscription = self._read(address.values)
            except Invalid as error:
                return Outcome(Result.GONE, reason=error.message)
            try:
                if not await self._endpoints.leads_outside(subscription.endpoint):
                    return Outcome(Result.REFUSED, reason="The service's name leads to an internal address.")
            except OSError as error:
                return Outcome(Result.LATER, reason=f"The service's name cannot be looked up: {error.strerror}.")
            answer = await self._post(subscription, payload, headers)
            if answer.status == 413:
                answer = await self._post(subscription, self._payload(notification, with_text=False), headers)
            return self._calls.outcome(answer)

        return await each(addresses, one)

    async def _post(self, subscription: Subscription, payload: bytes, headers: Mapping[str, str]) -> Any:
        endpoint = subscription.endpoint
        signed = {**headers, "authorization": self._vapid.authorization(endpoint.origin)}
        return await self._calls.post(endpoint.url, encrypted(payload, subscription), signed)

    def _payload(self, notification: Notification, *, with_text: bool = True) -> bytes:
        about = {"conversation": notification.conversation, "seq": notification.seq}
        title = notification.title if len(notification.title) <= LONGEST_TITLE else notification.title[:199] + "…"

        def build(text: str) -> bytes:
            shown: dict[str, Any] = {"title": title, "body": text, "tag": notification.collapse, "data": about}
            if not self._page:
                return msgspec.json.encode({"notification": shown})
            shown["navigate"] = f"{self._page}/#/{notification.conversation}"
            return msgspec.json.encode({"web_push": MAGIC, "notification": shown})

        return fitted(build, notification.text if with_text else "", PAYLOAD_BYTES)

    def _read(self, values: Mapping[str, Any]) -> Subscription:
        keys = values.get("keys")
        if not isinstance(keys, dict):
            raise Invalid("address.keys: The two keys of a subscription are expected.", field="address")
        key, secret = _decoded(keys.get("p256dh")), _decoded(keys.get("auth"))
        if len(key) != UNCOMPRESSED or not is_point(key):
            raise Invalid("address.keys.p256dh: A public key of the curve P-256 is expected.", field="address")
        if len(secret) != SECRET:
            raise Invalid(f"address.keys.auth: {SECRET} bytes as base64url are expected.", field="address")
        return Subscription(self._endpoints.read(values.get("endpoint")), key, secret)


def encrypted(payload: bytes, subscription: Subscription) -> bytes:
    """The body of the request: only the browser that subscribed reads it."""
    import http_ece  # type: ignore[import-untyped]
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key

    made: bytes = http_ece.encrypt(
        payload,
        private_key=generate_private_key(SECP256R1()),
        dh=subscription.key,
        auth_secret=subscription.secret,
        version="aes128gcm",
    )
    return made


def is_point(key: bytes) -> bool:
    """Whether these bytes are a point of the curve."""
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey

    try:
        EllipticCurvePublicKey.from_encoded_point(SECP256R1(), key)
    except ValueError:
        return False
    return True


def topic(collapse: str) -> str:
    """A notification that the service still keeps is replaced by a newer one of the same topic: at most 32 characters
    of base64url, and nothing that tells the service which conversation it is."""
    return unpadded(hashlib.sha256(collapse.encode()).digest()[:24])


def _decoded(given: Any) -> bytes:
    if not isinstance(given, str) or len(given) > 200:
        return b""
    bare = given.rstrip("=")
    try:
        return base64.b64decode(bare + "=" * (-len(bare) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return b""
