"""Signatures of webhooks, by the Standard Webhooks specification 1.0: HMAC-SHA256 over id, time stamp and body."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping
from pathlib import Path

from attrs import field, frozen
from chat_common.settings import SetupError

from chat_server.moderation.settings import WebhookSettings

PREFIX = "whsec_"
LEAST, MOST = 24, 64
"""Bytes of a key."""


@frozen
class Signer:
    """Signs deliveries with one key."""

    key: bytes = field(repr=False)

    def headers(self, name: str, seconds: int, body: bytes) -> Mapping[str, str]:
        """The headers of a delivery with this id, sent at this time (seconds since 1970)."""
        signed = hmac.new(self.key, f"{name}.{seconds}.".encode() + body, hashlib.sha256).digest()
        return {
            "webhook-id": name,
            "webhook-timestamp": str(seconds),
            "webhook-signature": f"v1,{base64.b64encode(signed).decode()}",
        }


def signer(settings: WebhookSettings) -> Signer:
    """The signer of the secret in the settings or in their file; `SetupError` says what is wrong with it."""
    if bool(settings.secret) == bool(settings.secret_file):
        raise SetupError("[webhooks] secret or secret_file is needed, and not both of them.")
    where = "secret" if settings.secret else f"secret_file {settings.secret_file}"
    secret = settings.secret
    if settings.secret_file:
        try:
            secret = Path(settings.secret_file).read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise SetupError(f"[webhooks] {where} cannot be read: {error}") from error
    secret = secret.strip()
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True) if secret.startswith(PREFIX) else b""
    except (binascii.Error, ValueError):
        key = b""
    if not LEAST <= len(key) <= MOST:
        raise SetupError(f"[webhooks] {where}: {PREFIX} and {LEAST} to {MOST} bytes as base64 are expected.")
    return Signer(key)
