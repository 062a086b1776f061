"""Central tokens: a signed JWT (HS256) and a record of it, so that one can be ended at once everywhere."""

from __future__ import annotations

import secrets
from functools import lru_cache
from typing import Any

import jwt
from attrs import define, frozen
from chat_common.clock import Clock
from chat_common.errors import NotAuthenticated
from chat_common.settings import SetupError
from sqlalchemy import Connection, bindparam, delete, exists, select, update

from chat_server.store.schema import meta, token
from chat_server.store.tx import new_id

ISSUER = "interesting-chat"
LEAST_SECRET = 32


@define(kw_only=True)
class Issued:
    """A token and its end in ms since 1970."""

    token: str
    expires_at: int


@frozen
class Claims:
    """What a token says: ``family`` is the login it goes back to, through all renewals."""

    user: str
    token: str
    family: str
    expires_at: int


class Tokens:
    """Makes and reads tokens. ``secrets_by_id``: all keys that are accepted; the first one signs."""

    def __init__(self, secrets_by_id: dict[str, str], clock: Clock, lifetime: float) -> None:
        for name, key in secrets_by_id.items():
            if len(key.encode()) < LEAST_SECRET:
                raise SetupError(
                    f"auth.secret ({name}) is shorter than {LEAST_SECRET} bytes: a short key can be guessed"
                )
        self._keys = secrets_by_id
        self._signing = next(iter(secrets_by_id))
        self._clock = clock
        self._lifetime = lifetime
        self._verified = lru_cache(maxsize=20_000)(self._verify)

    def issue(
        self,
        connection: Connection,
        user: str,
        device: str | None,
        family: str | None = None,
        audience: str | None = None,
    ) -> Issued:
        """A fresh token, recorded in this transaction. With an ``audience`` it is good for that alone. A renewal, of a
        ``family``: `NotAuthenticated` when that login was ended meanwhile."""
        now = self._clock.wall_ms()
        if family is not None and connection.execute(_ENDED, {"family": family}).scalar_one():
            raise NotAuthenticated("token: ended", field="token")
        expires_at = now + round(self._lifetime * 1000)
        name = new_id()
        connection.execute(
            token.insert(),
            {
                "token": name,
                "family": family or name,
                "user": user,
                "device": device,
                "created_at": now,
                "expires_at": expires_at,
            },
        )
        claims: dict[str, str | int] = {
            "iss": ISSUER,
            "sub": user,
            "jti": name,
            "fam": family or name,
            "iat": now // 1000,
            "exp": expires_at // 1000,
        }
        if audience is not None:
            claims["aud"] = audience
        signed = jwt.encode(claims, self._keys[self._signing], algorithm="HS256", headers={"kid": self._signing})
        return Issued(token=signed, expires_at=expires_at)

    def read(self, text: str, audience: str | None = None) -> Claims:
        """The claims of a token with a good signature that is not over; whether it was ended, the record knows."""
        found = self._verified(text, audience)
        if found.expires_at <= self._clock.wall_ms():
            raise NotAuthenticated("token: expired", field="token")
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
            return Claims(str(claims["sub"]), str(claims["jti"]), str(claims["fam"]), int(claims["exp"]) * 1000)
        except (jwt.PyJWTError, KeyError, TypeError, ValueError):
            raise NotAuthenticated("token: not valid", field="token") from None


_ENDED = select(exists().where(token.c.family == bindparam("family"), token.c.revoked_at.is_not(None)))


def stored_secret(connection: Connection) -> str:
    """The signing key of this store, made at the first start; a configured one is used instead of it."""
    value = connection.execute(select(meta.c.value).where(meta.c.key == "token_secret")).scalar_one_or_none()
    if value is None:
        value = secrets.token_urlsafe(48)
        connection.execute(meta.insert().values(key="token_secret", value=value))
    return str(value)


def revoke_family(connection: Connection, family: str, now: int) -> None:
    """End a login: its token and all renewals."""
    connection.execute(update(token).where(token.c.family == family).values(revoked_at=now))


def forget_expired(connection: Connection, now: int, limit: int = 1000) -> int:
    """Delete records of tokens that are over anyway; how many went."""
    doomed = list(connection.execute(select(token.c.token).where(token.c.expires_at < now).limit(limit)).scalars())
    if doomed:
        connection.execute(delete(token).where(token.c.token.in_(doomed)))
    return len(doomed)
