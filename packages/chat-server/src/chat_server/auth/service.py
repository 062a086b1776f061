"""The room's table of contents: its commands, and what it offers its neighbours. Every method delegates."""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from typing import Literal, cast

from attrs import define
from chat_common import wire
from chat_common.ports.identity import DirectIdentity, IdentityProvider, Proof, TicketIdentity
from chat_common.records import Caller, Command, Task
from sqlalchemy import Connection

from chat_server.auth.accounts import Accounts
from chat_server.auth.authenticate import Authenticate, Standings
from chat_server.auth.bans import Bans
from chat_server.auth.bind import Binding
from chat_server.auth.collect import Collector
from chat_server.auth.device_list import Devices, ListDevices
from chat_server.auth.devices import DeviceNews
from chat_server.auth.direct import DirectLogins
from chat_server.auth.endings import Endings
from chat_server.auth.frame import Frame
from chat_server.auth.identities import Identities, find
from chat_server.auth.issue import Issuer
from chat_server.auth.kick import Kick, KickDevices, Kicked
from chat_server.auth.linking import IdentityList, LinkIdentity, Linking, UnlinkIdentity
from chat_server.auth.logins import LoggedIn, forget_old
from chat_server.auth.logout import Logout
from chat_server.auth.neighbours import Neighbours, Ports
from chat_server.auth.pages import LoginPages, PageNeighbours, PageSettings
from chat_server.auth.passwords import PasswordIdentity
from chat_server.auth.phones import Phones
from chat_server.auth.policy import Newcomer
from chat_server.auth.proof_again import ProofAgain
from chat_server.auth.providers import DevIdentity
from chat_server.auth.public_address import PublicAddress
from chat_server.auth.redirects import RedirectIdentity, RedirectPages
from chat_server.auth.register import RegisterUser, Registration
from chat_server.auth.renew import Issued, Renewal
from chat_server.auth.requests import Nothing
from chat_server.auth.set_password import ChangePassword, PasswordSet, SetPassword
from chat_server.auth.settings import AuthSettings, with_preset
from chat_server.auth.signer import TokenSigner
from chat_server.auth.tickets import BeginLogin, LoginBegun, LoginState, PollLogin, TicketLogins, TicketNeighbours
from chat_server.auth.verdicts import Verdicts
from chat_server.auth.vouch import Vouch
from chat_server.contributions import RoomContributions, every, screens_texts
from chat_server.services import Credentials, Identity, Renewed, VouchedUser
from chat_server.store.tx import Tx

LOGIN_EVERY = 1.0


@define(kw_only=True)
class Method:
    """``tickets``: begun with ``auth.begin``; others have a command of their own, ``auth.NAME``."""

    name: str
    title: str
    tickets: bool = False


@define(kw_only=True)
class Methods:
    """``registration``: who may make an account, see the setting of that name."""

    methods: list[Method]
    registration: Literal["open", "invite", "closed"]


class Auth:
    """Who are you, and may you? Implements `AuthService`. ``keys``: those that sign tokens, see `TokenSigner`.
    ``address``: under which browsers and phones reach this server."""

    def __init__(
        self,
        ports: Ports,
        neighbours: Neighbours,
        settings: AuthSettings,
        keys: Mapping[str, str],
        providers: Mapping[str, IdentityProvider],
        address: PublicAddress,
    ) -> None:
        self._settings = settings = with_preset(settings)
        self._ports = ports
        self._providers = dict(providers)
        if settings.dev:
            self._providers.setdefault("dev", DevIdentity())
        signer = TokenSigner(keys, ports.clock)
        verdicts = Verdicts(ports.cache, ports.clock)
        standings = Standings(ports, settings)
        self._identities = Identities(neighbours, settings)
        self.endings = Endings(ports, neighbours, verdicts, DeviceNews(neighbours.deliver))
        binding = Binding(ports, neighbours, settings, self.endings)
        self.issuer = Issuer(ports, neighbours, settings, signer, self._identities, self.endings)
        self._authenticate = Authenticate(ports, signer, standings, verdicts, self.endings, binding)
        self._vouch = Vouch(ports.database, self.issuer, signer, self._authenticate)
        self._renewal = Renewal(ports, settings, signer, self.endings)
        self._bans = Bans(ports, self.endings)
        self._direct = DirectLogins(ports.cache, settings, self.issuer)
        self._linking = Linking(ports, self._providers, self._direct, self.endings)
        self._list, self._kick = ListDevices(ports, neighbours), KickDevices(ports, self.endings)
        self._logout = Logout(ports, self.endings)
        passwords = self._providers.get("password")
        self.passwords = passwords if isinstance(passwords, PasswordIdentity) else None
        hasher = self.passwords.hasher if self.passwords is not None else None
        self.accounts = Accounts(self.endings, hasher)
        self.prove_again = ProofAgain(ports, self.passwords)
        registration = Registration(ports, neighbours, self._identities, self.issuer, hasher)
        self._register = registration.register
        collector = Collector(ports, signer, self.endings)
        self.logins = TicketLogins(ports, TicketNeighbours(self._providers, self.issuer, collector, neighbours.tell))
        frame = Frame(page_key(next(iter(keys.values()))), address.public)
        self.pages = LoginPages(
            PageNeighbours(
                self.logins,
                registration,
                self.passwords,
                Phones(ports, settings, signer, standings, self.endings),
            ),
            PageSettings(settings.registration, round(settings.token_lifetime)),
            frame,
        )
        redirecting = {name: each for name, each in self._providers.items() if isinstance(each, RedirectIdentity)}
        self.redirects = RedirectPages(redirecting, self.logins, ports.cache, frame, address)
        self._change_password = (
            ChangePassword(ports, settings, signer, self.passwords, self.endings) if self.passwords else None
        )
        self._ended: tuple[set[str], int] = (set(), ports.clock.wall_ms())
        self._looked_at: int | None = None

    # --- AuthService ------------------------------------------------------------------------------------------------

    async def authenticate(self, shown: Credentials) -> Identity:
        return await self._authenticate(shown)

    async def vouched(self, who: VouchedUser) -> Identity:
        return await self._vouch(who)

    async def renew(self, identity: Identity) -> Renewed:
        return await self._renewal.renew(identity)

    # --- for the application that embeds the server -------------------------------------------------------------------

    def find(self, connection: Connection, proof: Proof) -> str | None:
        """Return the user of somebody whom the application vouches for, None where there is none."""
        return find(connection, proof)

    def ensure_user(self, tx: Tx, proof: Proof) -> wire.User:
        """Return the user of somebody whom the application vouches for, made at the first call."""
        return self._identities.resolve(tx, proof, invited=True)

    async def issue_token(self, user: str, device: str | None) -> str:
        """Return a token for a user that exists; `NotFound` otherwise, `NotPermitted`: banned."""
        return (await self.issuer.log_in(user, Newcomer(device), "app")).token

    async def ban(self, user: str, until: int | None = None, reason: str | None = None) -> None:
        """Keep the user out until then (ms since 1970; None: for good); whoever is in is closed with 4403."""
        await self._bans.ban(user, until, reason, "app")

    async def unban(self, user: str) -> None:
        """Let the user in again; nothing happens where there is no ban."""
        await self._bans.unban(user, "app")

    # --- background work ----------------------------------------------------------------------------------------------

    async def expire(self) -> None:
        """Tell screens whose tickets have run out, and close what other nodes have ended. Once a second."""
        await self.logins.expire()
        mark = self._ports.database.commit_mark()
        if mark is None or mark != self._looked_at:
            self._ended = await self.endings.look(*self._ended)
            self._looked_at = mark

    def forget_old(self, connection: Connection) -> int:
        """Delete tokens and logins that are over, in small batches; how many went."""
        return forget_old(connection, self._ports.clock.wall_ms())

    # --- contributions ------------------------------------------------------------------------------------------------

    def contributions(self) -> RoomContributions:
        """Return what this room contributes to the server."""
        routes = [*self.redirects.routes(), *self.pages.routes()] if self._providers else []
        tasks = [Task("login-expiry", every(LOGIN_EVERY, self.expire))]
        return RoomContributions(room="auth", commands=self.commands(), tasks=tasks, routes=routes)

    def commands(self) -> Sequence[Command]:
        """The client commands of this room."""
        made = [
            Command("auth.methods", Nothing, Methods, self._methods, callers="guests", summary="The ways to log in."),
            # Its answer holds a token, which no kept reply may: asked again, the same token is signed again.
            Command("auth.refresh", Nothing, Issued, self._renewal.refresh, "keeps", summary="A fresh token.", cost=10),
            Command("auth.logout", Nothing, Nothing, self._logout, "keeps", summary="End this login everywhere."),
            Command("auth.devices", Nothing, Devices, self._list, summary="Where the user is logged in.", cost=2),
            Command("auth.kick", Kick, Kicked, self._kick, "changes", summary="Log a device out, or all others."),
        ]
        linking = self._linking
        made += [
            Command(
                "auth.identities", Nothing, IdentityList, linking.identities, summary="The caller's ways to log in."
            ),
            # Kept replies hold a hash of the request, and this one has credentials in it: hence not "changes".
            Command("auth.link", LinkIdentity, IdentityList, linking.link, "keeps", summary="Add a way to log in."),
            Command("auth.unlink", UnlinkIdentity, IdentityList, linking.unlink, "changes", summary="Remove one."),
        ]
        if any(isinstance(provider, TicketIdentity) for provider in self._providers.values()):
            begin, poll = self.logins.begin, self.logins.poll
            made += [
                Command(
                    "auth.begin",
                    BeginLogin,
                    LoginBegun,
                    begin,
                    callers="guests",
                    summary="Begin a login by ticket.",
                    cost=5,
                ),
                Command("auth.poll", PollLogin, LoginState, poll, callers="guests", summary="How a ticket stands."),
            ]
        for provider in self._providers.values():
            if isinstance(provider, DirectIdentity):
                made.append(self._direct.command(provider))
        if self._change_password is not None:
            made += [
                Command(
                    "auth.register",
                    RegisterUser,
                    LoggedIn,
                    self._register,
                    callers="guests",
                    summary="A new account.",
                    cost=20,
                    screens=screens_texts(name="user.name", handle="user.handle"),
                ),
                # Kept replies hold a hash of the request, from which a password could be guessed: hence not "changes".
                Command(
                    "auth.password.set", SetPassword, PasswordSet, self._change_password, "keeps",
                    summary="Set or change the caller's password.",
                ),
            ]  # fmt: skip
        return made

    async def _methods(self, caller: Caller, request: Nothing) -> Methods:
        return Methods(
            methods=[
                Method(name=each.name, title=each.title, tickets=isinstance(each, TicketIdentity))
                for each in self._providers.values()
            ],
            registration=cast('Literal["open", "invite", "closed"]', self._settings.registration),
        )


def page_key(secret: str) -> bytes:
    """Return the key of the login pages' CSRF tokens, the same on every node."""
    return hmac.digest(secret.encode(), b"login pages", "sha256")
