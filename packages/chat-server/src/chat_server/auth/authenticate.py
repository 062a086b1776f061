"""Whose token this is: what `hello` and every call over HTTP ask."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import frozen
from chat_common import wire
from chat_common.errors import NotAuthenticated, NotPermitted
from chat_common.ports.database import Database
from sqlalchemy import Connection, Row, bindparam, select, update

from chat_server.auth.bind import Arrival, Binding
from chat_server.auth.endings import Endings, why_ended
from chat_server.auth.logins import end
from chat_server.auth.neighbours import Ports
from chat_server.auth.settings import AuthSettings
from chat_server.auth.signer import Claims, TokenSigner
from chat_server.auth.verdicts import HasEnded, Lives, Verdicts
from chat_server.services import Credentials, Identity
from chat_server.store import views
from chat_server.store.account_schema import login, token
from chat_server.store.batched_reads import BatchedReads
from chat_server.store.rights import banned
from chat_server.store.statements import CompiledStatement, any_of, texts

SUCCESSOR = token.alias("successor")
_ROWS = CompiledStatement(
    select(login, token.c.token, token.c.used_at, token.c.replaced_by, SUCCESSOR.c.used_at.label("retired_at"))
    .join(token, token.c.login == login.c.login)
    .join(SUCCESSOR, SUCCESSOR.c.token == token.c.replaced_by, isouter=True)
    .where(any_of(token.c.token, "tokens")),
    "tokens",
)


@frozen
class Standing:
    """What the store says of a token: its user, and the row of its login joined with it."""

    user: wire.User
    row: Row[Any]


class TokenRetired(NotAuthenticated):
    """The token was renewed, and its successor has been in use for longer than the grace."""


class Standings:
    """Reads the standing of many tokens at once."""

    def __init__(self, ports: Ports, settings: AuthSettings) -> None:
        self._clock = ports.clock
        self._grace = round(settings.grace * 1000)
        self._reads: BatchedReads[Claims, Standing] = BatchedReads(ports.database, self._read)

    async def of(self, claims: Claims) -> Standing:
        """Return what the store says now. `NotAuthenticated` (`LoginEnded`, `TokenRetired`), `NotPermitted`."""
        return await self._reads.read(claims)

    def _read(self, connection: Connection, asked: Sequence[Claims]) -> Sequence[Standing | Exception]:
        now = self._clock.wall_ms()
        people = sorted({it.user for it in asked})
        rows = {row.token: row for row in _ROWS.all(connection, texts(connection, [it.token for it in asked]))}
        out = banned(connection, people, now)
        users = views.users_by_id(connection, people)
        return [self._judge(it, rows.get(it.token), it.user in out, users, now) for it in asked]

    def _judge(
        self, claims: Claims, row: Row[Any] | None, is_banned: bool, users: Mapping[str, wire.User], now: int
    ) -> Standing | Exception:
        if row is None or (row.user, row.login, row.audience) != (claims.user, claims.login, claims.audience):
            return NotAuthenticated("token: The token is not known here.", field="token")
        if is_banned:
            return NotPermitted("This account is banned.", reason="banned")
        if row.ended_at is not None:
            return why_ended(row.ended_by)
        if row.ends_at is not None and row.ends_at <= now:
            return why_ended("expired")
        if row.retired_at is not None and row.retired_at + self._grace < now:
            return TokenRetired("token: it was renewed and is not good any more", field="token")
        if claims.user not in users:
            return NotAuthenticated("token: The user of this token no longer exists.", field="token")
        return Standing(users[claims.user], row)


_USED = CompiledStatement(
    update(token)
    .where(token.c.token == bindparam("token_"), token.c.used_at.is_(None))
    .values(used_at=bindparam("at_")),
    "token_",
    "at_",
)


def note_used(connection: Connection, items: Sequence[tuple[str, int]]) -> Sequence[None]:
    """The first use of renewed tokens, which retires those before them."""
    _USED.many(connection, sorted(items))
    return [None for _ in items]


async def end_reused(database: Database, endings: Endings, claims: Claims, now: int) -> None:
    """End a login whose retired token was shown: either its owner or a thief has the newer one, and nobody can tell
    who, so that both must log in again."""
    ended = await database.change(lambda connection: end(connection, login.c.login == claims.login, "reuse", now))
    await endings.announce(ended)


@frozen
class Authenticate:
    """The use case of `AuthService.authenticate`."""

    ports: Ports
    signer: TokenSigner
    standings: Standings
    verdicts: Verdicts
    endings: Endings
    binding: Binding

    async def __call__(self, shown: Credentials) -> Identity:
        """See `chat_server.services.AuthService.authenticate`."""
        claims, device = self.signer.read(shown.token), shown.device
        if not device and (known := await self._from_cache(claims)) is not None:
            return known
        try:
            standing = await self.standings.of(claims)
        except TokenRetired:
            await end_reused(self.ports.database, self.endings, claims, self.ports.clock.wall_ms())
            raise
        row, now = standing.row, self.ports.clock.wall_ms()
        if device and row.device is not None and row.device != device:
            raise NotAuthenticated("token: The token belongs to another device. Log in on this one.", field="token")
        if row.used_at is None:
            await self.ports.database.change_many(note_used, (claims.token, now))
        if device:
            await self.binding.arrived(Arrival(row, device, shown.platform, shown.name), now)
        bound = device or row.device or ""
        if not device:
            await self.verdicts.lives(claims.login, Lives(claims.token, standing.user, bound, claims.expires_at))
        return Identity(standing.user, bound, claims.login, claims.expires_at, claims.token)

    async def _from_cache(self, claims: Claims) -> Identity | None:
        verdict = await self.verdicts.of(claims.login)
        if isinstance(verdict, HasEnded) and verdict.by != "ban":  # Whether that ban is over, the store knows.
            raise why_ended(verdict.by)
        if isinstance(verdict, Lives) and verdict.token == claims.token and verdict.user.user == claims.user:
            return Identity(verdict.user, verdict.device, claims.login, claims.expires_at, claims.token)
        return None
