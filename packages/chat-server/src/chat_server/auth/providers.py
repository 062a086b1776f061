"""The login methods that come with the server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from chat_common.errors import Invalid
from chat_common.ports.identity import IdentityProvider, Link, Waiting
from chat_common.records import Backend, Context

from chat_server.auth.public_address import PublicAddress


class QrIdentity:
    """Any phone's camera opens a page of this server; see `chat_server.auth.pages`."""

    name, title, tickets = "qr", "Scan with a phone", True

    def __init__(self, address: PublicAddress) -> None:
        self._address = address

    async def begin(self, waiting: Waiting) -> Link:
        base = self._address.url
        return Link(f"{base}/login/{waiting.code}", self._address.warning(base))


class DirectIdentity:
    """A method without a ticket: its command is ``auth.NAME``."""

    tickets = False

    def __init__(self, name: str, title: str) -> None:
        self.name, self.title = name, title

    async def begin(self, waiting: Waiting) -> Link:
        raise Invalid(f"provider: {self.name!r} needs no ticket: call auth.{self.name}", field="provider")


@asynccontextmanager
async def _qr(context: Context) -> AsyncIterator[IdentityProvider]:
    yield QrIdentity(await context.get(PublicAddress))


def _direct(name: str, title: str) -> Callable[[Context], AbstractAsyncContextManager[IdentityProvider]]:
    @asynccontextmanager
    async def opened(context: Context) -> AsyncIterator[IdentityProvider]:
        yield DirectIdentity(name, title)

    return opened


DEV = DirectIdentity("dev", "Name only (for trying out)")
"""Offered where ``auth.dev`` says so, never chosen by ``[ports]``."""

BACKENDS = (
    Backend(IdentityProvider, "qr", _qr, summary="Scan a code with any phone's camera.", default=True),
    Backend(
        IdentityProvider,
        "password",
        _direct("password", "Name and password"),
        summary="Name and password, kept as argon2id hashes.",
        default=True,
    ),
)
