"""OpenID Connect: logging in at another site (Keycloak, Entra, Google, your own) by authorization code with PKCE."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Annotated, Any
from urllib.parse import quote, urlencode, urlsplit

import jwt
import structlog
from attrs import Factory, define
from chat_common.errors import NotAuthenticated, Unavailable
from chat_common.ports.identity import IdentityProvider, Link, Proof, Waiting
from chat_common.records import Backend, Context
from chat_common.settings import SetupError, setting
from msgspec import Meta

from chat_server.auth.public_address import PublicAddress
from chat_server.auth.redirects import Transaction, base64url, redirect_link
from chat_server.auth.sites import Site

log = structlog.get_logger("chat.auth")
ALGORITHMS = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"})
"""Those with a public key alone: a key that anybody can read must not make tokens."""
KEY_TYPES = {"RS": "RSA", "PS": "RSA", "ES": "EC", "Ed": "OKP"}
FRESH, STALE = 3_600.0, 86_400.0
KEYS_EVERY = 30.0
SUBJECT_CHARS = 255
UNPROVEN = "The ID token does not prove who has logged in: "
GOOGLE = "https://accounts.google.com"


@define(kw_only=True)
class OidcSettings:
    issuer: str = setting(help="The issuer's address, letter for letter as its discovery document says it.")
    client_id: str = setting(help="What the issuer calls this server.")
    client_secret: str = setting("", help="The secret that goes with it; empty: a public client.", secret=True)
    title: str = setting("Single sign-on", help="What people read on the button.")
    scope: str = setting("openid profile", help="What is asked for; `openid` must be in it.")
    algorithms: list[str] = setting(
        Factory(lambda: ["RS256", "ES256", "PS256"]), help="Signatures of ID tokens that are believed."
    )
    max_clock_skew: Annotated[float, Meta(ge=0, le=600)] = setting(
        60.0, help="Seconds by which the issuer's clock may differ."
    )


class OidcIdentity:
    """`chat_server.auth.redirects.RedirectIdentity`. The subject is ``ISSUER|sub``: addresses of mail change hands."""

    def __init__(self, name: str, settings: OidcSettings, address: PublicAddress, site: Site) -> None:
        self.name, self.title = name, settings.title
        unknown = set(settings.algorithms) - ALGORITHMS
        if unknown or not settings.algorithms:
            raise SetupError(
                f"[identity_provider.{name}] algorithms: {', '.join(sorted(unknown)) or 'none'} cannot be used:"
                f" choose from {', '.join(sorted(ALGORITHMS))}"
            )
        if "openid" not in settings.scope.split():
            raise SetupError(f"[identity_provider.{name}] scope: It must contain `openid`.")
        _require_safe(settings.issuer, f"[identity_provider.{name}] issuer")
        self._settings, self._address, self._site = settings, address, site
        self._document: tuple[float, dict[str, Any]] | None = None
        self._keys: tuple[float, list[dict[str, Any]]] | None = None

    async def begin(self, waiting: Waiting) -> Link:
        """See `TicketIdentity.begin`. The issuer is asked first, so that no code is shown that leads nowhere."""
        await self._discover()
        return redirect_link(self._address, self.name, waiting)

    async def authorize(self, transaction: Transaction) -> str:
        """See `RedirectIdentity.authorize`."""
        endpoint = str((await self._discover())["authorization_endpoint"])
        query = urlencode(
            {
                "response_type": "code",
                "client_id": self._settings.client_id,
                "redirect_uri": transaction.redirect_uri,
                "scope": self._settings.scope,
                "state": transaction.state,
                "nonce": transaction.nonce,
                "code_challenge": transaction.challenge,
                "code_challenge_method": "S256",
            }
        )
        return f"{endpoint}{'&' if '?' in endpoint else '?'}{query}"

    async def finish(self, query: Mapping[str, str], transaction: Transaction) -> Proof:
        """See `RedirectIdentity.finish`."""
        document = await self._discover()
        # RFC 9207: with several issuers, an answer of one must not be taken for another's.
        named = query.get("iss")
        if named != self._settings.issuer and (
            named is not None or document.get("authorization_response_iss_parameter_supported") is True
        ):
            raise NotAuthenticated("The answer comes from another issuer.")
        if not query.get("code"):
            raise NotAuthenticated("The answer has no code.")
        answer = await self._redeem(document, query["code"], transaction)
        id_token, access_token = answer.get("id_token"), answer.get("access_token")
        if not isinstance(id_token, str):
            raise NotAuthenticated("The issuer's answer has no ID token.")
        claims = await self._verified(document, id_token, transaction.nonce, access_token)
        name = _name_in(claims)
        if not name and isinstance(access_token, str) and "userinfo_endpoint" in document:
            name = await self._asked_name(str(document["userinfo_endpoint"]), access_token, claims["sub"])
        return Proof(self.name, f"{self._settings.issuer}|{claims['sub']}", name or self.title)

    # --- the issuer ---------------------------------------------------------------------------------------------------

    async def _discover(self) -> dict[str, Any]:
        now = time.monotonic()
        if self._document is not None and now - self._document[0] < FRESH:
            return self._document[1]
        address = f"{self._settings.issuer.rstrip('/')}/.well-known/openid-configuration"
        try:
            found = await self._site.get(address)
            self._check(found)
        except Unavailable:
            if self._document is None or now - self._document[0] > STALE:
                raise
            return self._document[1]
        self._document = (now, found)
        return found

    def _check(self, document: Mapping[str, Any]) -> None:
        if document.get("issuer") != self._settings.issuer:
            log.error("oidc_configuration", provider=self.name, reason="the discovery document names another issuer")
            raise Unavailable("The login site is not set up rightly.")
        for name in ("authorization_endpoint", "token_endpoint", "jwks_uri", "userinfo_endpoint"):
            given = document.get(name)
            if given is None and name == "userinfo_endpoint":
                continue
            if not isinstance(given, str) or not _is_safe(given):
                log.error("oidc_configuration", provider=self.name, reason=f"{name} is missing or not https")
                raise Unavailable("The login site is not set up rightly.")

    async def _redeem(self, document: Mapping[str, Any], code: str, transaction: Transaction) -> dict[str, Any]:
        chosen = self._settings
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": transaction.redirect_uri,
            "code_verifier": transaction.verifier,
        }
        methods = document.get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
        basic: tuple[str, str] | None = None
        if not chosen.client_secret:
            form["client_id"] = chosen.client_id
        elif "client_secret_basic" in methods or "client_secret_post" not in methods:
            basic = (quote(chosen.client_id, safe=""), quote(chosen.client_secret, safe=""))
        else:
            form |= {"client_id": chosen.client_id, "client_secret": chosen.client_secret}
        status, answer = await self._site.post(str(document["token_endpoint"]), form, basic)
        if status == 200:
            return answer
        error = str(answer.get("error", ""))[:64]
        if error in ("invalid_client", "unauthorized_client"):
            log.error("oidc_configuration", provider=self.name, reason=error)
            raise Unavailable("The login site does not know this server.")
        raise NotAuthenticated(f"The issuer refuses the code: {error or status}.")

    async def _asked_name(self, endpoint: str, access_token: str, subject: str) -> str:
        found = await self._site.get(endpoint, bearer=access_token)
        if found.get("sub") != subject:
            raise NotAuthenticated("The issuer's user information is of somebody else.")
        return _name_in(found)

    # --- the ID token -------------------------------------------------------------------------------------------------

    async def _verified(
        self, document: Mapping[str, Any], id_token: str, nonce: str, access_token: Any
    ) -> dict[str, Any]:
        try:
            header = jwt.get_unverified_header(id_token)
            algorithm = header.get("alg")
            if algorithm not in self._settings.algorithms:
                raise NotAuthenticated(f"{UNPROVEN}its algorithm is {algorithm!r}.")
            key = await self._key(document, header.get("kid"), algorithm)
            claims: dict[str, Any] = jwt.decode(
                id_token,
                jwt.PyJWK.from_dict(key, algorithm=algorithm).key,
                algorithms=[algorithm],
                audience=self._settings.client_id,
                leeway=self._settings.max_clock_skew,
                options={"require": ["iss", "sub", "aud", "exp", "iat"]},
            )
        except (jwt.PyJWTError, TypeError, ValueError) as error:
            raise NotAuthenticated(f"{UNPROVEN}{type(error).__name__}.") from None
        self._judge(claims, algorithm, nonce, access_token)
        return claims

    def _judge(self, claims: Mapping[str, Any], algorithm: str, nonce: str, access_token: Any) -> None:
        """What PyJWT does not look at."""
        issuers = {self._settings.issuer}
        if self._settings.issuer == GOOGLE:
            issuers.add(GOOGLE.removeprefix("https://"))
        if claims["iss"] not in issuers:
            raise NotAuthenticated(f"{UNPROVEN}it is of another issuer.")
        mine, azp = self._settings.client_id, claims.get("azp")
        if (azp is not None and azp != mine) or (
            isinstance(claims["aud"], list) and len(claims["aud"]) > 1 and not azp
        ):
            raise NotAuthenticated(f"{UNPROVEN}it was made for another client.")
        given = claims.get("nonce")
        if not isinstance(given, str) or not hmac.compare_digest(given.encode(), nonce.encode()):
            raise NotAuthenticated(f"{UNPROVEN}its nonce is not the one of this login.")
        subject = claims["sub"]
        if not isinstance(subject, str) or not 1 <= len(subject) <= SUBJECT_CHARS:
            raise NotAuthenticated(f"{UNPROVEN}its subject is empty or too long.")
        if "at_hash" in claims and claims["at_hash"] != _at_hash(algorithm, access_token):
            raise NotAuthenticated(f"{UNPROVEN}its at_hash does not fit the access token.")

    async def _key(self, document: Mapping[str, Any], kid: Any, algorithm: str) -> dict[str, Any]:
        now = time.monotonic()
        if self._keys is not None and now - self._keys[0] < FRESH:
            found = _fitting(self._keys[1], kid, algorithm)
            # An unknown key may be a new one, but made-up ids must not make us ask without end.
            if found is not None or now - self._keys[0] < KEYS_EVERY:
                return _required(found)
        try:
            answer = await self._site.get(str(document["jwks_uri"]))
            keys = answer.get("keys")
            self._keys = (now, [each for each in keys if isinstance(each, dict)] if isinstance(keys, list) else [])
        except Unavailable:
            if self._keys is None or now - self._keys[0] > STALE:
                raise
        return _required(_fitting(self._keys[1], kid, algorithm))


def _required(key: dict[str, Any] | None) -> dict[str, Any]:
    if key is None:
        raise NotAuthenticated(f"{UNPROVEN}its key is not among the issuer's.")
    return key


def _fitting(keys: list[dict[str, Any]], kid: Any, algorithm: str) -> dict[str, Any] | None:
    """The key that signs this way; without an id only where there is a single one."""
    fitting = [
        key
        for key in keys
        if key.get("kty") == KEY_TYPES[algorithm[:2]]
        and key.get("use", "sig") == "sig"
        and key.get("alg", algorithm) == algorithm
        and (kid is None or key.get("kid") == kid)
    ]
    return fitting[0] if len(fitting) == 1 else None


def _at_hash(algorithm: str, access_token: Any) -> str | None:
    if not isinstance(access_token, str):
        return None
    bits = "512" if algorithm == "EdDSA" else algorithm[2:]
    digest = hashlib.new(f"sha{bits}", access_token.encode()).digest()
    return base64url(digest[: len(digest) // 2])


def _name_in(claims: Mapping[str, Any]) -> str:
    for field in ("name", "nickname", "preferred_username"):
        given = claims.get(field)
        if isinstance(given, str):
            shown = " ".join("".join(each if each.isprintable() else " " for each in given).split())[:64].strip()
            if shown:
                return shown
    return ""


def _is_safe(address: str) -> bool:
    """https, or this machine itself; nothing in it that could end a header."""
    if not address.isascii() or not address.isprintable() or " " in address:
        return False
    try:
        parts = urlsplit(address)
        host = parts.hostname or ""
    except ValueError:
        return False
    if parts.scheme == "https" and host:
        return True
    try:
        return parts.scheme == "http" and ipaddress.ip_address(host).is_loopback
    except ValueError:
        return parts.scheme == "http" and host == "localhost"


def _require_safe(address: str, what: str) -> None:
    if not _is_safe(address):
        raise SetupError(f"{what}: {address!r} must begin with https://.")


def backend(name: str) -> Backend:
    """Return a backend ``name``, with its own section: a plugin registers one for each further issuer."""

    @asynccontextmanager
    async def opened(context: Context) -> AsyncIterator[IdentityProvider]:
        async with Site.open(name) as site:
            yield OidcIdentity(name, context.settings, await context.get(PublicAddress), site)

    return Backend(IdentityProvider, name, opened, OidcSettings, "Log in at another site by OpenID Connect.")
