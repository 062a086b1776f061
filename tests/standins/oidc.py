"""An OpenID Connect issuer that speaks the documented shapes, with a switch for each of its faults.

Its tokens are made by joserfc, which the server does not use, so that the tests do not confirm themselves.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import cache
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from attrs import define, field
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from tests.chat_server.transports.serving import serving

CLIENT, SECRET = "chat & more", "a secret: with ü"


@define
class Issuer:
    """``person``: who agrees at the issuer; None denies. ``claims`` and ``header`` change what is signed; ``document``
    the discovery; ``faults`` are calls that fail, by name: ``down``, ``html``, ``slow``."""

    url: str = ""
    person: dict[str, Any] | None = field(factory=lambda: {"sub": "person-7", "name": "Ada Lovelace"})
    keys: list[Any] = field(factory=lambda: [the_rsa()])
    published: list[Any] | None = None
    algorithm: str = "RS256"
    claims: dict[str, Any] = field(factory=dict)
    header: dict[str, Any] = field(factory=dict)
    document: dict[str, Any] = field(factory=dict)
    userinfo: dict[str, Any] = field(factory=dict)
    signing: Callable[[dict[str, Any], dict[str, Any]], str] | None = None
    token_error: str | None = None
    with_iss: str | None = None
    faults: dict[str, str] = field(factory=dict)
    calls: list[str] = field(factory=list)
    codes: dict[str, dict[str, Any]] = field(factory=dict)
    public: bool = False

    def routes(self) -> list[Route]:
        return [
            Route("/.well-known/openid-configuration", self._watched("discovery", self._discovery)),
            Route("/authorize", self._watched("authorize", self._authorize)),
            Route("/token", self._watched("token", self._token), methods=["POST"]),
            Route("/keys", self._watched("keys", self._keys)),
            Route("/userinfo", self._watched("userinfo", self._userinfo)),
        ]

    def _watched(self, name: str, call: Any) -> Any:
        async def handler(request: Request) -> Response:
            self.calls.append(name)
            fault = self.faults.get(name)
            if fault == "down":
                return JSONResponse({"error": "server_error"}, 503)
            if fault == "html":
                return HTMLResponse("<h1>nginx</h1>")
            if fault == "large":
                return HTMLResponse("x" * 100_000)
            if fault == "slow":
                await asyncio.sleep(30)
            return await call(request)  # type: ignore[no-any-return]

        return handler

    async def _discovery(self, request: Request) -> Response:
        return JSONResponse(
            {
                "issuer": self.url,
                "authorization_endpoint": f"{self.url}/authorize",
                "token_endpoint": f"{self.url}/token",
                "jwks_uri": f"{self.url}/keys",
                "userinfo_endpoint": f"{self.url}/userinfo",
                "response_types_supported": ["code"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["RS256", "none", "HS256"],
                **self.document,
            }
        )

    async def _authorize(self, request: Request) -> Response:
        asked = dict(request.query_params)
        assert asked["client_id"] == CLIENT
        assert asked["response_type"] == "code"
        assert "openid" in asked["scope"].split()
        assert asked["code_challenge_method"] == "S256"
        assert len(asked["code_challenge"]) == 43
        answer = {"state": asked["state"]}
        if self.with_iss is not None:
            answer["iss"] = self.with_iss
        if self.person is None:
            answer |= {"error": "access_denied", "error_description": "<b>no</b>"}
        else:
            answer["code"] = secrets.token_urlsafe(16)
            self.codes[answer["code"]] = asked
        return RedirectResponse(f"{asked['redirect_uri']}?{urlencode(answer)}", 302)

    async def _token(self, request: Request) -> Response:
        form = dict(parse_qsl((await request.body()).decode(), strict_parsing=True))
        if not self._is_client(request, form):
            return JSONResponse({"error": "invalid_client"}, 401)
        asked = self.codes.pop(form.get("code", ""), None)
        if self.token_error is not None:
            return JSONResponse({"error": self.token_error}, 400)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(form.get("code_verifier", "").encode()).digest())
        if (
            asked is None
            or form.get("grant_type") != "authorization_code"
            or form.get("redirect_uri") != asked["redirect_uri"]
            or challenge.rstrip(b"=").decode() != asked["code_challenge"]
            or not 43 <= len(form["code_verifier"]) <= 128
        ):
            return JSONResponse({"error": "invalid_grant"}, 400)
        assert self.person is not None
        access = secrets.token_urlsafe(16)
        return JSONResponse(
            {"access_token": access, "token_type": "Bearer", "id_token": self.id_token(asked["nonce"], access)}
        )

    def _is_client(self, request: Request, form: dict[str, str]) -> bool:
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if self.public:
            return scheme == "" and form.get("client_id") == CLIENT and "client_secret" not in form
        if "client_secret_post" in self.document.get("token_endpoint_auth_methods_supported", ()):
            return (form.get("client_id"), form.get("client_secret")) == (CLIENT, SECRET)
        name, _, secret = base64.b64decode(given).decode().partition(":")
        return scheme == "Basic" and (unquote(name), unquote(secret)) == (CLIENT, SECRET)

    def id_token(self, nonce: str, access: str) -> str:
        now = int(time.time())
        half = hashlib.sha256(access.encode()).digest()[:16]
        claims: dict[str, Any] = {
            "iss": self.url,
            "aud": CLIENT,
            "iat": now,
            "exp": now + 300,
            "nonce": nonce,
            "at_hash": base64.urlsafe_b64encode(half).rstrip(b"=").decode(),
            **(self.person or {}),
        }
        for name, value in self.claims.items():
            if value is None:
                claims.pop(name, None)
            else:
                claims[name] = value(now) if callable(value) else value
        header = {"alg": self.algorithm, "kid": self.keys[0].kid, **self.header}
        if self.signing is not None:
            return self.signing({k: v for k, v in header.items() if v is not None}, claims)
        return jwt.encode({k: v for k, v in header.items() if v is not None}, claims, self.keys[0], [self.algorithm])

    async def _keys(self, request: Request) -> Response:
        shown = self.keys if self.published is None else self.published
        return JSONResponse({"keys": [key.as_dict(private=False) for key in shown]})

    async def _userinfo(self, request: Request) -> Response:
        assert request.headers["authorization"].startswith("Bearer ")
        return JSONResponse({"sub": "person-7", **self.userinfo})


def unsigned(header: dict[str, Any], claims: dict[str, Any]) -> str:
    """A token of the algorithm "none"."""
    parts = [{"alg": "none", **{k: v for k, v in header.items() if v != "RS256"}}, claims]
    return ".".join(
        [base64.urlsafe_b64encode(json.dumps(each).encode()).rstrip(b"=").decode() for each in parts] + [""]
    )


def by_public_key(issuer: Issuer) -> Callable[[dict[str, Any], dict[str, Any]], str]:
    """HS256 with the public key as its secret: the oldest trick."""

    def sign(header: dict[str, Any], claims: dict[str, Any]) -> str:
        # By hand, since a library worth its name refuses to.
        text = unsigned({**header, "alg": "HS256"}, claims).rpartition(".")[0]
        made = hmac.digest(issuer.keys[0].as_pem(private=False), text.encode(), "sha256")
        return f"{text}.{base64.urlsafe_b64encode(made).rstrip(b'=').decode()}"

    return sign


@cache
def the_rsa() -> RSAKey:
    """One for all tests: making it takes longer than a login."""
    return RSAKey.generate_key(2048, {"kid": "k1", "use": "sig"})


@cache
def another_rsa(kid: str = "k1") -> RSAKey:
    return RSAKey.generate_key(2048, {"kid": kid, "use": "sig"})


def an_ec(kid: str = "e1") -> ECKey:
    return ECKey.generate_key("P-256", {"kid": kid, "use": "sig"})


@asynccontextmanager
async def issuer() -> AsyncIterator[Issuer]:
    made = Issuer()
    async with serving(Starlette(routes=made.routes())) as (_, port):
        made.url = f"http://127.0.0.1:{port}"
        yield made


def code_of(url: str) -> str:
    return urlsplit(url).path.rpartition("/")[2]
