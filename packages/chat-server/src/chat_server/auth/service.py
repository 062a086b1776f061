"""The room's table of contents: its commands, and what it offers its neighbours."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Literal

from attrs import define, frozen
from chat_common import wire
from chat_common.clock import Clock
from chat_common.errors import Invalid, NotAuthenticated, NotPermitted
from chat_common.ports.database import Database
from chat_common.records import Caller, Command
from chat_common.settings import setting
from chat_common.validation import named
from msgspec import UNSET, UnsetType
from sqlalchemy import Connection, select, update

from chat_server.auth.tokens import Issued, Tokens, revoke_family
from chat_server.services import CloseSessions, Identity
from chat_server.store import views
from chat_server.store.changes import Changes, caller_user
from chat_server.store.schema import ban, device, identity, token
from chat_server.store.tx import Tx, require_users, upsert

CreateUser = Callable[[Tx, str], wire.User]
CloseAll = Callable[[CloseSessions], Awaitable[int]]
Online = Callable[[Sequence[str]], Awaitable[Sequence[tuple[str, str]]]]


@define(kw_only=True)
class AuthSettings:
    secret: str = setting(
        "", help="Signing key of 32 bytes or more; empty: made at the first start and kept in the store.", secret=True
    )
    token_lifetime: float = setting(30 * 24 * 3600.0, help="Lifetime of a token, in seconds.")
    renew_before: float = setting(24 * 3600.0, help="How long before its end a live session gets a new token, in s.")
    dev: bool = setting(False, help="Offer the provider dev: log in by name alone. For trying out.")


@define(kw_only=True)
class DeviceInfo:
    id: wire.Id
    platform: named(32) | None = None  # type: ignore[valid-type]
    name: named(64) | None = None  # type: ignore[valid-type]


@define(kw_only=True)
class Nothing:
    """No parameters, or an empty answer."""


@define(kw_only=True)
class Method:
    name: str
    title: str


@define(kw_only=True)
class Methods:
    methods: list[Method]


@define(kw_only=True)
class LogInDev:
    """The user is made at the first use of the name."""

    name: named(64)  # type: ignore[valid-type]
    device: wire.Id | None = None


@define(kw_only=True)
class LoggedIn:
    token: str
    expires_at: int
    user: wire.User


@define(kw_only=True)
class DeviceState:
    """``seen_at`` in ms since 1970; ``current``: the one that asks."""

    device: str
    platform: str
    seen_at: int
    online: bool
    current: bool
    name: str | UnsetType = UNSET


@define(kw_only=True)
class Devices:
    devices: list[DeviceState]


@define(kw_only=True)
class Kick:
    """One ``device``, or ``all`` but the one that asks."""

    device: wire.Id | None = None
    all: Literal[True] | None = None


@define(kw_only=True)
class Kicked:
    kicked: list[str]


@frozen
class Seen:
    """A device that said hello."""

    user: str
    device: str
    platform: str | None
    name: str | None
    at: int
    token: str


def note_seen(connection: Connection, items: Sequence[Seen]) -> Sequence[None]:
    """Devices as they were last seen, in bulk; a token without a device is bound to its first."""
    newest = {(item.user, item.device): item for item in items}
    statement = upsert(connection, device)
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["user", "device"],
            set_={name: statement.excluded[name] for name in ("platform", "name", "seen_at")},
        ),
        [
            {"user": user, "device": name, "platform": item.platform, "name": item.name, "seen_at": item.at}
            for (user, name), item in sorted(newest.items())
        ],
    )
    for item in items:
        connection.execute(
            update(token).where(token.c.token == item.token, token.c.device.is_(None)).values(device=item.device)
        )
    return [None] * len(items)


class Auth:
    """Who are you, and may you? Implements `AuthService`."""

    def __init__(
        self,
        database: Database,
        changes: Changes,
        tokens: Tokens,
        clock: Clock,
        settings: AuthSettings,
        create_user: CreateUser,
        close: CloseAll,
        online: Online,
    ) -> None:
        self._database = database
        self._changes = changes
        self._tokens = tokens
        self._clock = clock
        self._settings = settings
        self._create_user = create_user
        self._close = close
        self._online = online

    # --- AuthService ----------------------------------------------------------------------------------------------

    async def authenticate(self, text: str, device_id: str, platform: str | None, name: str | None) -> Identity:
        claims = self._tokens.read(text)
        now = self._clock.wall_ms()

        def look(connection: Connection) -> tuple[wire.User, str | None]:
            row = connection.execute(
                select(token.c.revoked_at, token.c.device).where(token.c.token == claims.token)
            ).one_or_none()
            if row is None or row.revoked_at is not None:
                raise NotAuthenticated("token: ended", field="token")
            banned = connection.execute(select(ban).where(ban.c.user == claims.user)).one_or_none()
            if banned is not None and (banned.until is None or banned.until > now):
                raise NotPermitted("you are banned")
            found = views.users_by_id(connection, [claims.user])
            if claims.user not in found:
                raise NotAuthenticated("token: its user does not exist any more", field="token")
            return found[claims.user], row.device

        who, bound = await self._database.read(look)
        if device_id:
            await self._database.change_many(note_seen, Seen(claims.user, device_id, platform, name, now, claims.token))
        return Identity(who, device_id or bound or "", claims.family, claims.expires_at)

    async def renew(self, who: Identity) -> tuple[str, int]:
        issued = await self._database.change(
            lambda connection: self._tokens.issue(connection, who.user.user, who.device or None, who.token)
        )
        return issued.token, issued.expires_at

    # --- logging in -----------------------------------------------------------------------------------------------

    def log_in(self, tx: Tx, provider: str, subject: str, name: str, device_id: str | None) -> LoggedIn:
        """The user of a proven identity, made at its first use, with a token."""
        known = tx.connection.execute(
            select(identity.c.user).where(identity.c.provider == provider, identity.c.subject == subject)
        ).scalar_one_or_none()
        if known is None:
            who = self._create_user(tx, name)
            tx.connection.execute(identity.insert(), {"provider": provider, "subject": subject, "user": who.user})
        else:
            who = views.users_by_id(tx.connection, [known])[known]
        return self.token_for(tx, who, device_id)

    def token_for(self, tx: Tx, who: wire.User, device_id: str | None) -> LoggedIn:
        """A token for this user."""
        issued = self._tokens.issue(tx.connection, who.user, device_id)
        return LoggedIn(token=issued.token, expires_at=issued.expires_at, user=who)

    async def issue_token(self, user: str, device_id: str | None) -> str:
        """A token for a user that exists; `NotFound` otherwise."""

        def issue(connection: Connection) -> str:
            require_users(connection, [user])
            return self._tokens.issue(connection, user, device_id).token

        return await self._database.change(issue)

    async def _dev(self, caller: Caller, request: LogInDev) -> LoggedIn:
        return await self._changes.apply(lambda tx: self.log_in(tx, "dev", request.name, request.name, request.device))

    # --- commands -------------------------------------------------------------------------------------------------

    def commands(self) -> Sequence[Command]:
        """The client commands of this room."""
        made = [
            Command("auth.methods", Nothing, Methods, self._methods, guests=True, summary="How one can log in."),
            Command("auth.refresh", Nothing, Issued, self._refresh, "changes", summary="A fresh token."),
            Command("auth.logout", Nothing, Nothing, self._logout, "keeps", summary="End this login everywhere."),
            Command("auth.devices", Nothing, Devices, self._devices, summary="One's devices."),
            Command("auth.kick", Kick, Kicked, self._kick, "changes", summary="Log a device out, or all others."),
        ]
        if self._settings.dev:
            made.append(
                Command("auth.dev", LogInDev, LoggedIn, self._dev, guests=True, summary="Log in by name alone (--dev).")
            )
        return made

    def methods(self) -> list[Method]:
        """The login methods of this server."""
        return [Method(name="dev", title="Name only (for trying out)")] if self._settings.dev else []

    async def _methods(self, caller: Caller, request: Nothing) -> Methods:
        return Methods(methods=self.methods())

    async def _refresh(self, caller: Caller, request: Nothing) -> Issued:
        user = caller_user(caller)
        return await self._database.change(
            lambda connection: self._tokens.issue(connection, user, caller.device or None, caller.token)
        )

    async def _logout(self, caller: Caller, request: Nothing) -> Nothing:
        caller_user(caller)
        family, now = caller.token, self._clock.wall_ms()
        if family is None:
            raise Invalid("this caller has no token to end")
        await self._database.change(lambda connection: revoke_family(connection, family, now))
        await self._close(CloseSessions(4401, "logged out", "never", user=caller.user, token=family))
        return Nothing()

    async def _devices(self, caller: Caller, request: Nothing) -> Devices:
        me = caller_user(caller)
        rows = await self._database.read(
            lambda connection: connection.execute(
                select(device).where(device.c.user == me).order_by(device.c.seen_at.desc()).limit(100)
            ).all()
        )
        online = {name for _, name in await self._online([me])}
        return Devices(
            devices=[
                DeviceState(
                    device=row.device,
                    platform=row.platform or "unknown",
                    name=views.or_unset(row.name),
                    seen_at=row.seen_at,
                    online=row.device in online,
                    current=row.device == caller.device,
                )
                for row in rows
            ]
        )

    async def _kick(self, caller: Caller, request: Kick) -> Kicked:
        me = caller_user(caller)
        if (request.device is None) == (request.all is None):
            raise Invalid("device, or all: one of the two", field="device")
        now = self._clock.wall_ms()

        def end(connection: Connection) -> list[str]:
            known = connection.execute(select(device.c.device).where(device.c.user == me)).scalars().all()
            wanted = [name for name in known if name == request.device or (request.all and name != caller.device)]
            ended = update(token).where(token.c.user == me, token.c.revoked_at.is_(None)).values(revoked_at=now)
            if request.all:
                connection.execute(ended.where(token.c.family != (caller.token or "")))
            else:
                connection.execute(ended.where(token.c.device == request.device))
            return wanted

        kicked = await self._database.change(end)
        if request.all:
            await self._close(
                CloseSessions(4409, "logged out by another device", "never", user=me, except_session=caller.session)
            )
        for name in [] if request.all else kicked:
            await self._close(CloseSessions(4409, "logged out by another device", "never", user=me, device=name))
        return Kicked(kicked=kicked)
