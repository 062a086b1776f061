"""The login methods that come with the server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from attrs import define
from chat_common.ports.cache import Cache
from chat_common.ports.database import Database
from chat_common.ports.identity import Attempt, IdentityProvider, Link, Proof, Waiting
from chat_common.records import Backend, Context
from chat_common.validation import named

from chat_server.auth import oidc, qq, wechat_web
from chat_server.auth.passwords import PasswordIdentity
from chat_server.auth.public_address import PublicAddress
from chat_server.auth.settings import AuthSettings
from chat_server.names.handles import NameRules


class QrIdentity:
    """`TicketIdentity`: any phone's camera opens a page of this server; see `chat_server.auth.pages`."""

    name, title = "qr", "Scan with a phone"

    def __init__(self, address: PublicAddress) -> None:
        self._address = address

    async def begin(self, waiting: Waiting) -> Link:
        """See `TicketIdentity.begin`."""
        base = self._address.url
        return Link(f"{base}/login/{waiting.code}", self._address.warning(base))


@define(kw_only=True)
class DevCredentials:
    """The user is made at the first use of the name."""

    name: named(64)  # type: ignore[valid-type]


class DevIdentity:
    """`DirectIdentity`: whoever says a name is believed. Offered where ``auth.dev`` says so, never by ``[ports]``."""

    name, title, credentials = "dev", "Name only (for trying out)", DevCredentials

    async def prove(self, credentials: DevCredentials, attempt: Attempt) -> Proof:
        """See `DirectIdentity.prove`."""
        return Proof("dev", credentials.name, credentials.name)


@asynccontextmanager
async def _qr(context: Context) -> AsyncIterator[IdentityProvider]:
    yield QrIdentity(await context.get(PublicAddress))


@asynccontextmanager
async def _password(context: Context) -> AsyncIterator[IdentityProvider]:
    yield PasswordIdentity(
        await context.get(Database),  # type: ignore[type-abstract]
        await context.get(Cache),  # type: ignore[type-abstract]
        await context.get(AuthSettings),
        clock=context.clock,
        rules=await context.get(NameRules),
    )


BACKENDS = (
    oidc.backend("oidc"),
    qq.BACKEND,
    wechat_web.BACKEND,
    Backend(IdentityProvider, "qr", _qr, summary="Scan a code with any phone's camera.", default=True),
    Backend(
        IdentityProvider,
        "password",
        _password,
        summary="Name and password, kept as argon2id hashes.",
        default=True,
    ),
)
