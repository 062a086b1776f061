"""The key by which push services know this server (VAPID, RFC 8292)."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import Any

from cachetools import LRUCache
from chat_common.clock import Clock
from chat_common.settings import SetupError

from chat_server.push.calls import missing

GOOD_FOR = 12 * 3600
"""Seconds: services take at most 24 hours."""
RENEWED_BEFORE = 3600
ORIGINS = 1_000


class Vapid:
    """Signs for each push service. ``public``: the key that pages subscribe with, as base64url."""

    def __init__(self, key: Any, subject: str, clock: Clock) -> None:
        self._key, self._subject, self._clock = key, subject, clock
        self.public = public_half(key)
        # origin → (good until, in seconds since 1970; header)
        self._made: LRUCache[str, tuple[float, str]] = LRUCache(ORIGINS)

    def authorization(self, origin: str) -> str:
        """The header ``Authorization`` for a service, of which the origin is named. It is made twice a day."""
        import jwt

        now = self._clock.wall_ms() / 1000
        until, header = self._made.get(origin, (0.0, ""))
        if until - RENEWED_BEFORE <= now:
            until = now + GOOD_FOR
            claims = {"aud": origin, "exp": int(until), "sub": self._subject}
            header = f"vapid t={jwt.encode(claims, self._key, 'ES256')}, k={self.public}"
            self._made[origin] = (until, header)
        return header


def read_key(path: Path) -> Any:
    """The private key in this file; `SetupError` where there is none, or another kind."""
    try:
        from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key
    except ImportError:
        raise missing("webpush") from None
    try:
        key = load_pem_private_key(path.read_bytes(), None)
    except FileNotFoundError:
        raise SetupError(f"There is no VAPID key at {path}: make one with `chat-server push keys`.") from None
    except OSError as error:
        raise SetupError(f"The VAPID key {path} cannot be read: {error.strerror}.") from error
    except (ValueError, TypeError):
        raise SetupError(f"{path} holds no private key in PEM form: make one with `chat-server push keys`.") from None
    if not isinstance(key, EllipticCurvePrivateKey) or not isinstance(key.curve, SECP256R1):
        raise SetupError(f"The VAPID key {path} is not of the curve P-256: make one with `chat-server push keys`.")
    return key


def make_key(path: Path, *, replace: bool = False) -> str:
    """Write a new key that only this user can read, and return its public half. `SetupError` where a file is there
    already, unless it is to be replaced: every page would have to subscribe anew."""
    try:
        from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
        from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
    except ImportError:
        raise missing("webpush") from None
    if path.exists() and not replace:
        raise SetupError(
            f"{path} is there already. With a new key nobody is told of anything until their page was opened again:"
            " say --replace if that is meant."
        )
    key = generate_private_key(SECP256R1())
    text = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    fresh = path.with_name(path.name + ".new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        fresh.unlink(missing_ok=True)
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if replace:
            fresh.replace(path)
        else:
            os.link(fresh, path)  # unlike a rename it never takes the place of what came meanwhile
            fresh.unlink()
    except OSError as error:
        raise SetupError(f"{path} cannot be written: {error.strerror}.") from error
    return public_half(key)


def public_half(key: Any) -> str:
    """The public key as pages need it."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return unpadded(key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint))


def unpadded(data: bytes) -> str:
    """Base64url without padding, as RFC 7515 has it."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
