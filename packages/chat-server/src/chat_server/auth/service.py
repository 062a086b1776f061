"""The room's table of contents: its commands, and what it offers its neighbours."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Literal

from attrs import define, frozen
from chat_common import wire
from chat_common.clock import Clock
from chat_common.errors import ChatError, Invalid, NotAuthenticated, NotPermitted
from chat_common.ports.cache import Cache
from chat_common.ports.database import Database
from chat_common.ports.identity import IdentityProvider
from chat_common.records import Caller, Command, Push
from chat_common.validation import named
from msgspec import UNSET, UnsetType
from sqlalchemy import Connection, Row, delete, func, select, update

from chat_server.auth.accounts import Accounts, LogInPassword, PasswordSet, Register, SetPassword
from chat_server.auth.devices import DeviceInfo, DeviceNews, device_id
from chat_server.auth.logins import BeginLogin, LoggedIn, LoginBegun, LoginState, PollLogin, TicketLogins
from chat_server.auth.pages import LoginPages
from chat_server.auth.passwords import Passwords
from chat_server.auth.providers import DEV
from chat_server.auth.settings import AuthSettings
from chat_server.auth.tokens import Claims, Issued, Tokens, revoke_family
from chat_server.services import CloseSessions, Deliver, Identity
from chat_server.store import views
from chat_server.store.batched_reads import BatchedReads
from chat_server.store.executor import CommandExecutor, caller_user
from chat_server.store.schema import ban, device, identity, token
from chat_server.store.statements import CompiledStatement, any_pair, pairs, upsert
from chat_server.store.tx import Tx, require_users

CreateUser = Callable[[Tx, str], wire.User]
CloseAll = Callable[[CloseSessions], Awaitable[int]]
Tell = Callable[[str, str, Push], Awaitable[bool]]
PHONE = "phone"
"""The audience of the token in a phone's cookie: it confirms logins and is good for nothing else."""
Online = Callable[[Sequence[str]], Awaitable[Sequence[tuple[str, str]]]]


@define(kw_only=True)
class Nothing:
    """No parameters, or an empty answer."""


@define(kw_only=True)
class Method:
    """``tickets``: begun with ``auth.begin``; others have a command of their own, ``auth.NAME``."""

    name: str
    title: str
    tickets: bool = False


@define(kw_only=True)
class Methods:
    methods: list[Method]


@define(kw_only=True)
class LogInDev:
    """The user is made at the first use of the name."""

    name: named(64)  # type: ignore[valid-type]
    device: wire.Id | DeviceInfo | None = None


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
    """A device that said hello; ``token``: one that is to be bound to it."""

    user: str
    device: str
    platform: str | None
    name: str | None
    at: int
    token: str | None


_KNOWN = CompiledStatement(
    select(device.c.user, device.c.device).where(any_pair(device.c.user, device.c.device, "pairs")), "pairs"
)


def note_seen(connection: Connection, items: Sequence[Seen]) -> Sequence[bool]:
    """Devices as they were last seen, in bulk; a token without a device is bound to its first. Tells of each whether it
    is new."""
    newest = {(item.user, item.device): item for item in items}
    known = {(row.user, row.device) for row in _KNOWN.all(connection, pairs(newest))}
    statement = upsert(connection, device)
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["user", "device"],
            # A look that does not say what it looks at (a renewal) keeps what is known.
            set_={
                "platform": func.coalesce(statement.excluded.platform, device.c.platform),
                "name": func.coalesce(statement.excluded.name, device.c.name),
                "seen_at": statement.excluded.seen_at,
            },
        ),
        [
            {"user": user, "device": name, "platform": item.platform, "name": item.name, "seen_at": item.at}
            for (user, name), item in sorted(newest.items())
        ],
    )
    for item in items:
        if item.token is not None:
            connection.execute(
                update(token).where(token.c.token == item.token, token.c.device.is_(None)).values(device=item.device)
            )
    return [(item.user, item.device) not in known for item in items]


def _standing(
    claims: Claims, row: Row[Any] | None, is_banned: bool, users: Mapping[str, wire.User]
) -> tuple[wire.User, str | None] | Exception:
    if row is None or row.revoked_at is not None:
        return NotAuthenticated("token: ended", field="token")
    if is_banned:
        return NotPermitted("you are banned")
    if claims.user not in users:
        return NotAuthenticated("token: its user does not exist any more", field="token")
    return users[claims.user], row.device


def page_key(secret: str) -> bytes:
    """The key of the login pages' CSRF tokens, the same on every node."""
    return hmac.digest(secret.encode(), b"login pages", "sha256")


class Auth:
    """Who are you, and may you? Implements `AuthService`."""

    def __init__(
        self,
        database: Database,
        executor: CommandExecutor,
        tokens: Tokens,
        clock: Clock,
        settings: AuthSettings,
        create_user: CreateUser,
        close: CloseAll,
        online: Online,
        *,
        cache: Cache,
        providers: Mapping[str, IdentityProvider],
        node: str,
        tell: Tell,
        deliver: Deliver,
        page_key: bytes,
    ) -> None:
        self._database = database
        self._executor = executor
        self._tokens = tokens
        self._clock = clock
        self._settings = settings
        self._create_user = create_user
        self._close = close
        self._online = online
        self._news = DeviceNews(database, deliver)
        self._providers: dict[str, IdentityProvider] = dict(providers)
        if settings.dev:
            self._providers.setdefault("dev", DEV)
        self._standing = BatchedReads(database, self._standings)
        passwords = Passwords(database, cache, settings)
        self.accounts = Accounts(executor, passwords, cache, settings, create_user, self.issue)
        self.logins = TicketLogins(
            cache,
            clock,
            node,
            self._providers,
            issue=self.issue,
            revoke=self._revoke,
            tell=tell,
            prove=self.accounts.prove,
        )
        self.pages = LoginPages(
            self.logins,
            self.accounts,
            self,
            clock,
            page_key,
            passwords="password" in self._providers,
            remember_for=settings.token_lifetime,
        )

    # --- AuthService ----------------------------------------------------------------------------------------------

    async def authenticate(self, text: str, device_id: str, platform: str | None, name: str | None) -> Identity:
        claims = self._tokens.read(text)
        now = self._clock.wall_ms()

        who, bound = await self._standing.read(claims)
        if device_id and bound and bound != device_id and self._settings.sessions != "all":
            # Where devices replace each other a token is one device's; else one login may serve several.
            raise NotAuthenticated("token: another device's", field="token")
        if device_id:
            new = await self._database.change_many(
                note_seen, Seen(claims.user, device_id, platform, name, now, None if bound else claims.token)
            )
            if new:
                await self._news.tell(claims.user, [device_id], "added")
            await self._replace_others(claims.user, device_id)
        return Identity(who, device_id or bound or "", claims.family, claims.expires_at)

    def _standings(
        self, connection: Connection, asked: Sequence[Claims]
    ) -> Sequence[tuple[wire.User, str | None] | Exception]:
        """For each: the user of a token that was not ended, and the device it belongs to."""
        names, people = sorted({it.token for it in asked}), sorted({it.user for it in asked})
        now = self._clock.wall_ms()
        rows = connection.execute(
            select(token.c.token, token.c.revoked_at, token.c.device).where(token.c.token.in_(names))
        )
        known = {row.token: row for row in rows}
        banned = {
            row.user
            for row in connection.execute(select(ban).where(ban.c.user.in_(people)))
            if row.until is None or row.until > now
        }
        users = views.users_by_id(connection, people)
        return [_standing(it, known.get(it.token), it.user in banned, users) for it in asked]

    def _refuse_banned(self, connection: Connection, user: str) -> None:
        until = connection.execute(select(ban.c.until).where(ban.c.user == user)).one_or_none()
        if until is not None and (until[0] is None or until[0] > self._clock.wall_ms()):
            raise NotPermitted("you are banned")

    async def _replace_others(self, user: str, device_id: str) -> None:
        """The policy ``auth.sessions``: this device ends the user's others, or those of its platform."""
        policy = self._settings.sessions
        if policy == "all":
            return
        now = self._clock.wall_ms()

        def end(connection: Connection) -> list[str]:
            known = connection.execute(select(device.c.device, device.c.platform).where(device.c.user == user)).all()
            mine = next((row.platform for row in known if row.device == device_id), None)
            others = [
                row.device for row in known if row.device != device_id and (policy == "one" or row.platform == mine)
            ]
            live = (token.c.user == user) & token.c.revoked_at.is_(None) & token.c.device.in_(others)
            ended = list(connection.execute(select(token.c.device).where(live).distinct()).scalars())
            if ended:
                connection.execute(update(token).where(live).values(revoked_at=now))
            return ended

        for other in await self._database.change(end):
            await self._close(CloseSessions(4409, "replaced by another device", "never", user=user, device=other))
            await self._news.tell(user, [other], "ended")

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

    async def issue(self, user: str, device_id: str | None) -> LoggedIn:
        """A token for somebody who is proven; `NotPermitted`: banned."""

        def make(tx: Tx) -> LoggedIn:
            self._refuse_banned(tx.connection, user)
            require_users(tx.connection, [user])
            return self.token_for(tx, views.users_by_id(tx.connection, [user])[user], device_id)

        return await self._executor.apply(make)

    async def _revoke(self, text: str) -> None:
        family, now = self._tokens.read(text).family, self._clock.wall_ms()
        await self._database.change(lambda connection: revoke_family(connection, family, now))

    async def _dev(self, caller: Caller, request: LogInDev) -> LoggedIn:
        name = device_id(request.device)
        return await self._executor.apply(lambda tx: self.log_in(tx, "dev", request.name, request.name, name))

    # --- a phone that is remembered ---------------------------------------------------------------------------------

    async def remember(self, user: str) -> str:
        """What a phone keeps to confirm logins as this user; it opens nothing else."""
        return (
            await self._database.change(lambda connection: self._tokens.issue(connection, user, None, audience=PHONE))
        ).token

    async def remembered(self, text: str) -> wire.User | None:
        """Whom a phone is remembered as; None when that is over, or the user is banned."""
        try:
            claims = self._tokens.read(text, PHONE)
            return (await self._standing.read(claims))[0]
        except ChatError:
            return None

    async def forget(self, text: str) -> None:
        """A phone is not remembered any more."""
        try:
            family, now = self._tokens.read(text, PHONE).family, self._clock.wall_ms()
        except ChatError:
            return
        await self._database.change(lambda connection: revoke_family(connection, family, now))

    # --- bans -------------------------------------------------------------------------------------------------------

    async def ban(self, user: str, until: int | None = None, reason: str | None = None) -> None:
        """Nobody comes in as this user until then (ms since 1970; None: for good); who is in is closed with 4403."""
        values = {"until": until, "reason": reason}

        def write(connection: Connection) -> None:
            require_users(connection, [user])
            connection.execute(
                upsert(connection, ban)
                .values(user=user, **values)
                .on_conflict_do_update(index_elements=["user"], set_=values)
            )

        await self._database.change(write)
        await self._close(CloseSessions(4403, "banned", "never", user=user))

    async def unban(self, user: str) -> None:
        """The ban is over; nothing happens where there is none."""
        await self._database.change(lambda connection: connection.execute(delete(ban).where(ban.c.user == user)))

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
        accounts, logins, offered = self.accounts, self.logins, self._providers
        if any(provider.tickets for provider in offered.values()):
            made += [
                Command("auth.begin", BeginLogin, LoginBegun, logins.begin, guests=True, summary="Begin by ticket."),
                Command("auth.poll", PollLogin, LoginState, logins.poll, guests=True, summary="How a ticket stands."),
            ]
        if "password" in offered:
            made += [
                Command("auth.password", LogInPassword, LoggedIn, accounts.log_in, guests=True, summary="Log in."),
                Command("auth.register", Register, LoggedIn, accounts.register, guests=True, summary="A new account."),
                # Kept replies hold a hash of the request, from which a password could be guessed: hence not "changes".
                Command(
                    "auth.password.set", SetPassword, PasswordSet, accounts.set_password, "keeps",
                    summary="Set or change one's password.",
                ),
            ]  # fmt: skip
        if self._settings.dev:
            made.append(
                Command("auth.dev", LogInDev, LoggedIn, self._dev, guests=True, summary="Log in by name alone (--dev).")
            )
        return made

    def methods(self) -> list[Method]:
        """The login methods of this server."""
        return [
            Method(name=provider.name, title=provider.title, tickets=provider.tickets)
            for provider in self._providers.values()
        ]

    async def _methods(self, caller: Caller, request: Nothing) -> Methods:
        return Methods(methods=self.methods())

    async def _refresh(self, caller: Caller, request: Nothing) -> Issued:
        user = caller_user(caller)
        return await self._database.change(
            lambda connection: self._tokens.issue(connection, user, caller.device or None, caller.token)
        )

    async def _logout(self, caller: Caller, request: Nothing) -> Nothing:
        user = caller_user(caller)
        family, now = caller.token, self._clock.wall_ms()
        if family is None:
            raise Invalid("this caller has no token to end")
        await self._database.change(lambda connection: revoke_family(connection, family, now))
        await self._close(CloseSessions(4401, "logged out", "never", user=caller.user, token=family))
        if caller.device is not None:
            await self._news.tell(user, [caller.device], "ended")
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
                CloseSessions(4409, "logged out by another device", "never", user=me, except_token=caller.token)
            )
        for name in [] if request.all else kicked:
            await self._close(CloseSessions(4409, "logged out by another device", "never", user=me, device=name))
        await self._news.tell(me, kicked, "ended")
        return Kicked(kicked=kicked)
