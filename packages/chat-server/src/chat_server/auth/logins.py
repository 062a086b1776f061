"""Logins as rows: who lives, whose tokens they are, how they end. Each function runs in its caller's transaction."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Literal

from attrs import define, frozen
from chat_common import wire
from sqlalchemy import Connection, Row, delete, or_, select, update

from chat_server.auth.policy import Held, Newcomer
from chat_server.auth.settings import AuthSettings
from chat_server.auth.signer import Claims, TokenSigner
from chat_server.store import push_addresses
from chat_server.store.account_schema import login, token
from chat_server.store.rights import lives
from chat_server.store.schema import user
from chat_server.store.tx import new_id

EndedBy = Literal["logout", "kick", "replaced", "password", "ban", "reuse", "expired", "unlinked", "admin", "deleted"]
YOUNG_MS = 30_000
"""A login younger than this counts as present: its device is about to say hello."""
KEPT_MS = 30 * 24 * 3_600_000
"""How long a login that has ended is remembered."""


@define(kw_only=True)
class LoggedIn:
    """``token``: what a client says hello with, good until ``expires_at`` (ms since 1970)."""

    token: str
    expires_at: int
    user: wire.User


@frozen
class Heir:
    """A login under which a device goes on whose earlier login is ended."""

    login: str
    device: str | None


@frozen
class Ended:
    """A login that this transaction has ended."""

    login: str
    user: str
    device: str | None
    platform: str | None
    name: str | None
    seen_at: int
    expires_at: int
    audience: str | None
    by: EndedBy


def lock_user(connection: Connection, name: str) -> None:
    """Let no other transaction give this user a login, or end one, before the end of this one.

    On PostgreSQL by the user's row; on SQLite there is one writer anyway.
    """
    connection.execute(select(user.c.user).where(user.c.user == name).with_for_update())


def held(connection: Connection, who: str, now: int, online: Collection[str]) -> list[Held]:
    """Return the user's logins that live. ``online``: the devices that sit somewhere."""
    rows = connection.execute(select(login).where(login.c.user == who, lives(now)).order_by(login.c.created_at))
    return [
        Held(
            row.login,
            row.device,
            row.platform,
            row.name,
            row.seen_at,
            row.device in online or row.created_at > now - YOUNG_MS,
        )
        for row in rows
    ]


def known_device(connection: Connection, who: str, device: str) -> Row[Any] | None:
    """Return how this device called itself at its newest login, None when the user never came in with it."""
    return connection.execute(
        select(login.c.platform, login.c.name)
        .where(login.c.user == who, login.c.device == device)
        .order_by(login.c.seen_at.desc())
        .limit(1)
    ).one_or_none()


def open_login(
    connection: Connection,
    who: str,
    newcomer: Newcomer,
    settings: AuthSettings,
    now: int,
    *,
    provider: str | None = None,
    audience: str | None = None,
) -> Claims:
    """Write a login and its first token; the claims to sign."""
    name = new_id()
    ends_at = now + round(settings.login_lifetime * 1000) if settings.login_lifetime else None
    expires_at = _expiry(settings, now, ends_at)
    connection.execute(
        login.insert(),
        {
            "login": name,
            "user": who,
            "device": newcomer.device,
            "platform": newcomer.platform,
            "name": newcomer.name,
            "provider": provider,
            "audience": audience,
            "address": newcomer.address,
            "created_at": now,
            "seen_at": now,
            "expires_at": expires_at,
            "ends_at": ends_at,
        },
    )
    # The first token has the login's own id; that tells it from renewals.
    connection.execute(
        token.insert(), {"token": name, "login": name, "issued_at": now, "expires_at": expires_at, "used_at": now}
    )
    return Claims(who, name, name, now, expires_at, audience)


def renewed(connection: Connection, row: Row[Any], settings: AuthSettings, now: int) -> Claims:
    """Write the successor of the token in ``row`` (a login joined with its token); the claims to sign."""
    name, expires_at = new_id(), _expiry(settings, now, row.ends_at)
    connection.execute(token.insert(), {"token": name, "login": row.login, "issued_at": now, "expires_at": expires_at})
    connection.execute(update(token).where(token.c.token == row.token).values(replaced_by=name))
    connection.execute(update(login).where(login.c.login == row.login).values(expires_at=expires_at))
    return Claims(row.user, name, row.login, now, expires_at, row.audience)


def _expiry(settings: AuthSettings, now: int, ends_at: int | None) -> int:
    expires_at = now + round(settings.token_lifetime * 1000)
    return expires_at if ends_at is None else min(expires_at, ends_at)


def signed(signer: TokenSigner, claims: Claims, who: wire.User) -> LoggedIn:
    """Return the answer to somebody who has logged in."""
    return LoggedIn(token=signer.sign(claims), expires_at=claims.expires_at, user=who)


def end(connection: Connection, condition: Any, by: EndedBy, now: int, *, heir: Heir | None = None) -> list[Ended]:
    """End every login that fits and was not ended yet, with its push address, which the ``heir`` takes over from an
    earlier login of the same device. The caller announces what was ended after the commit
    (`chat_server.auth.endings`).
    """
    doomed = connection.execute(
        select(login).where(condition, login.c.ended_at.is_(None)).order_by(login.c.login).with_for_update()
    ).all()
    ended = [
        Ended(row.login, row.user, row.device, row.platform, row.name, row.seen_at, row.expires_at, row.audience, by)
        for row in doomed
    ]
    for each in ended:
        connection.execute(update(login).where(login.c.login == each.login).values(ended_at=now, ended_by=by))
        if heir is not None and heir.device is not None and heir.device == each.device:
            push_addresses.hand_over(connection, each.user, each.login, heir.login)
        else:
            push_addresses.drop(connection, each.user, each.login)
    return ended


def forget_old(connection: Connection, now: int, limit: int = 1000) -> int:
    """End logins that have expired, delete tokens that are over and logins that ended long ago, at most ``limit`` of
    each; how many rows went."""
    over_now = select(login.c.login).where(login.c.ended_at.is_(None), login.c.expires_at < now).limit(limit)
    expired = connection.execute(over_now).scalars().all()
    if expired:  # So that a device that is out for good is told nothing more, by its push address either.
        end(connection, login.c.login.in_(expired), "expired", now)
    tokens = connection.execute(select(token.c.token).where(token.c.expires_at < now).limit(limit)).scalars().all()
    if tokens:
        connection.execute(delete(token).where(token.c.token.in_(tokens)))
    long_ago = now - KEPT_MS
    over = or_(login.c.expires_at < long_ago, login.c.ended_at < long_ago)
    old: Sequence[str] = connection.execute(select(login.c.login).where(over).limit(limit)).scalars().all()
    if old:
        connection.execute(delete(token).where(token.c.login.in_(old)))
        connection.execute(delete(login).where(login.c.login.in_(old)))
    return len(tokens) + len(old)
