"""A push service of browsers, and the browsers that subscribed there: RFC 8030, 8188, 8291, 8292 from the other side.

It checks signatures with joserfc and decrypts by its own few lines, so that the tests do not confirm themselves.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from attrs import define, field
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from tests.chat_server.transports.serving import serving

LARGEST = 4_096
DAY = 86_400


def encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


@define
class Message:
    """What the service kept for a browser: its headers, and what the browser reads in it."""

    topic: str
    urgency: str
    ttl: int
    data: bytes

    @property
    def payload(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.data)
        return found


@define
class Browser:
    """A subscription. ``answers``: what the service says to the next messages, a status with headers each; then 201."""

    endpoint: str
    private: ec.EllipticCurvePrivateKey = field(factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    secret: bytes = field(factory=lambda: secrets.token_bytes(16))
    answers: list[tuple[int, dict[str, str]]] = field(factory=list)
    always: tuple[int, dict[str, str]] = (201, {})
    slow: float = 0.0
    received: list[Message] = field(factory=list)

    @property
    def public(self) -> bytes:
        return self.private.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)

    def subscription(self) -> dict[str, Any]:
        """``PushSubscription.toJSON()``."""
        keys = {"p256dh": encoded(self.public), "auth": encoded(self.secret)}
        return {"endpoint": self.endpoint, "expirationTime": None, "keys": keys}

    def read(self, body: bytes) -> bytes:
        """The plaintext of one record of ``aes128gcm``, as RFC 8188 and 8291 derive its key."""
        salt, size, length = body[:16], int.from_bytes(body[16:20], "big"), body[20]
        sender, record = body[21 : 21 + length], body[21 + length :]
        assert 18 <= len(record) <= size, "one record"
        other = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), sender)
        shared = self.private.exchange(ec.ECDH(), other)
        material = _hkdf(self.secret, shared, b"WebPush: info\0" + self.public + sender, 32)
        key = _hkdf(salt, material, b"Content-Encoding: aes128gcm\0", 16)
        nonce = _hkdf(salt, material, b"Content-Encoding: nonce\0", 12)
        padded = AESGCM(key).decrypt(nonce, record, None)
        text, mark, padding = padded.rpartition(b"\2")
        assert mark, "the last record ends with 2"
        assert not padding.strip(b"\0")
        return text


def _hkdf(salt: bytes, material: bytes, info: bytes, length: int) -> bytes:
    return HKDF(SHA256(), length, salt, info).derive(material)


@define
class PushService:
    """``key``: the server whose messages it takes; empty takes everybody's, as browsers that subscribed without one."""

    url: str = ""
    key: str = ""
    browsers: dict[str, Browser] = field(factory=dict)
    refused: list[str] = field(factory=list)
    signatures: set[str] = field(factory=set)

    def browser(self) -> Browser:
        """One that has just subscribed."""
        name = secrets.token_urlsafe(16)
        self.browsers[name] = made = Browser(f"{self.url}/push/{name}")
        return made

    async def push(self, request: Request) -> Response:
        browser = self.browsers.get(request.path_params["name"])
        if browser is None:
            return PlainTextResponse("no such subscription", 404)
        wrong = self._wrong(request.headers)
        if wrong is not None:
            self.refused.append(wrong)
            return PlainTextResponse(wrong, 403)
        body = await request.body()
        if len(body) > LARGEST:
            return PlainTextResponse("too large", 413)
        if browser.slow:
            await asyncio.sleep(browser.slow)
        status, headers = browser.answers.pop(0) if browser.answers else browser.always
        if 200 <= status < 300:
            heads = request.headers
            message = Message(heads["topic"], heads["urgency"], int(heads["ttl"]), browser.read(body))
            browser.received = [one for one in browser.received if one.topic != message.topic] + [message]
            headers = {"location": f"{self.url}/message/{secrets.token_hex(8)}", **headers}
        return Response(status_code=status, headers=headers)

    def _wrong(self, headers: Any) -> str | None:
        """What RFC 8030 and 8292 would have refused."""
        if headers.get("content-encoding") != "aes128gcm":
            return "content-encoding"
        if not re.fullmatch(r"\d{1,10}", headers.get("ttl", "")):
            return "ttl"
        if headers.get("urgency") not in ("very-low", "low", "normal", "high"):
            return "urgency"
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,32}", headers.get("topic", "")):
            return "topic"
        found = re.fullmatch(r"vapid t=([\w.-]+), ?k=([\w-]+)", headers.get("authorization", ""))
        if found is None:
            return "authorization"
        token, key = found.groups()
        if self.key and key != self.key:
            return "another server's key"
        point = decoded(key)
        numbers: dict[str, str | list[str]] = {
            "kty": "EC",
            "crv": "P-256",
            "x": encoded(point[1:33]),
            "y": encoded(point[33:]),
        }
        try:
            claims = jwt.decode(token, ECKey.import_key(numbers), algorithms=["ES256"]).claims
        except JoseError:
            return "signature"
        now = time.time()
        if claims["aud"] != self.url or not now < claims["exp"] <= now + DAY or not claims["sub"]:
            return "claims"
        self.signatures.add(token)
        return None


@asynccontextmanager
async def push_service() -> AsyncIterator[PushService]:
    made = PushService()
    app = Starlette(routes=[Route("/push/{name}", made.push, methods=["POST"])])
    async with serving(app) as (_, port):
        made.url = f"http://127.0.0.1:{port}"
        yield made
