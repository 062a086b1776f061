"""Signatures of webhooks, by the Standard Webhooks specification 1.0: HMAC-SHA256 over id, time stamp and body."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from attrs import field, frozen
from chat_common.settings import SetupError

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


class Secret(Protocol):
    """The part of a settings section that names a secret."""

    @property
    def secret(self) -> str:
        """``whsec_`` and the key as base64; or empty."""
        ...

    @property
    def secret_file(self) -> str:
        """A file with that; or empty."""
        ...


def signer(settings: Secret, section: str = "webhooks") -> Signer:
    """The signer of the secret in the settings or in their file; `SetupError` says what is wrong with it."""
    if bool(settings.secret) == bool(settings.secret_file):
        raise SetupError(f"[{section}] secret or secret_file is needed, and not both of them.")
    where = "secret" if settings.secret else f"secret_file {settings.secret_file}"
    secret = settings.secret
    if settings.secret_file:
        try:
            secret = Path(settings.secret_file).read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise SetupError(f"[{section}] {where} cannot be read: {error}") from error
    secret = secret.strip()
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True) if secret.startswith(PREFIX) else b""
    except (binascii.Error, ValueError):
        key = b""
    if not LEAST <= len(key) <= MOST:
        raise SetupError(f"[{section}] {where}: {PREFIX} and {LEAST} to {MOST} bytes as base64 are expected.")
    return Signer(key)
