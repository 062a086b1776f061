"""Signs and reads tokens (JWT, HS256). What a token is good for, its record in the store says."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import jwt
from attrs import frozen
from chat_common.clock import Clock
from chat_common.errors import NotAuthenticated
from chat_common.settings import SetupError

ISSUER = "interesting-chat"
LEAST_SECRET = 32
PHONE = "phone"
"""The audience of the token in a phone's cookie: it confirms logins and is good for nothing else."""


@frozen
class Claims:
    """What a token says. ``token`` is its own id (jti), ``login`` the login to which it and its renewals belong;
    times in ms since 1970, whole seconds."""

    user: str
    token: str
    login: str
    issued_at: int
    expires_at: int
    audience: str | None = None


class TokenSigner:
    """``keys``: all keys that are accepted, by their ids; the first one signs. `SetupError`: a key is too short."""

    def __init__(self, keys: Mapping[str, str], clock: Clock) -> None:
        for name, key in keys.items():
            if len(key.encode()) < LEAST_SECRET:
                raise SetupError(
                    f"The signing key {name!r} of [auth] is shorter than {LEAST_SECRET} bytes, so it could be guessed:"
                    " use a longer one, for example from `openssl rand -base64 48`."
                )
        self._keys = dict(keys)
        self._signing = next(iter(keys))
        self._clock = clock
        self._verified = lru_cache(maxsize=20_000)(self._verify)

    def sign(self, claims: Claims) -> str:
        """Return the token that says this; the same claims give the same token as long as the same key signs."""
        written: dict[str, str | int] = {
            "iss": ISSUER,
            "sub": claims.user,
            "jti": claims.token,
            "fam": claims.login,
            "iat": claims.issued_at // 1000,
            "exp": claims.expires_at // 1000,
        }
        if claims.audience is not None:
            written["aud"] = claims.audience
        return jwt.encode(written, self._keys[self._signing], algorithm="HS256", headers={"kid": self._signing})

    def read(self, text: str, audience: str | None = None) -> Claims:
        """Return the claims of a token with a good signature that is not over. Whether it was ended, the store knows.

        `NotAuthenticated`: forged, of another audience, or expired.
        """
        found = self._verified(text, audience)
        if found.expires_at <= self._clock.wall_ms():
            raise NotAuthenticated("token: The token has expired. Log in again.", field="token")
        return found

    def _verify(self, text: str, audience: str | None) -> Claims:
        """A signature that was good once is good always: a client that comes back is not worth another 60 µs."""
        try:
            key = self._keys[jwt.get_unverified_header(text)["kid"]]
            claims: dict[str, Any] = jwt.decode(
                text,
                key,
                algorithms=["HS256"],
                issuer=ISSUER,
                audience=audience,
                options={"require": ["exp", "iat", "sub", "jti"], "verify_exp": False, "verify_iat": False},
            )
            return Claims(
                str(claims["sub"]),
                str(claims["jti"]),
                str(claims["fam"]),
                int(claims["iat"]) * 1000,
                int(claims["exp"]) * 1000,
                audience,
            )
        except (jwt.PyJWTError, KeyError, TypeError, ValueError, UnicodeError):
            raise NotAuthenticated("token: The token is not valid.", field="token") from None
