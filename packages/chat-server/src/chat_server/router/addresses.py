"""The commands ``push.subscribe``, ``push.unsubscribe`` and ``push.list``: where a user's devices are reached.

An address belongs to the login of the session that subscribes, and ends with it: `chat_server.store.push_addresses`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import define, frozen
from chat_common import wire
from chat_common.clock import Clock
from chat_common.errors import Invalid, NotAuthenticated
from chat_common.ports.database import Database
from chat_common.ports.push import PushProvider
from chat_common.records import Caller, Command
from chat_common.validation import named

from chat_server.store import push_addresses, push_due, views
from chat_server.store.executor import CommandExecutor, caller_user
from chat_server.store.tx import Tx

LONGEST_ADDRESS = 4_096
"""Bytes of an address as JSON: a Web Push subscription has some 500."""
SOON_MS = 30_000
"""After a subscription nothing waits for longer because of the address that there was before."""


@define(kw_only=True)
class Subscribe:
    """``address``: what the provider needs to reach this device, for example a Web Push subscription; at most 4096
    bytes as JSON. ``device``: that of the login, if it is named at all."""

    provider: named(32)  # type: ignore[valid-type]
    address: dict[str, Any]
    device: wire.Id | None = None


@define(kw_only=True)
class Unsubscribe:
    """``device`` or ``login``: another one of the user's. Without either it is the login that asks."""

    device: wire.Id | None = None
    login: wire.Id | None = None


@define(kw_only=True)
class Nothing:
    """An empty answer or question."""


@define(kw_only=True)
class PushAddressState:
    """A login that is told while its user is away. ``device`` is empty for one that has not named its device;
    ``subscribed_at`` is in ms since 1970. ``current``: the login that asks."""

    login: str
    device: str
    provider: str
    subscribed_at: int
    current: bool


@define(kw_only=True)
class PushProviderState:
    """A way in which this server tells. ``public``: what a client needs to subscribe to it, such as the ``key`` of
    ``webpush``."""

    name: str
    public: dict[str, str]


@define(kw_only=True)
class PushAddresses:
    """The newest first. What an address holds is told to nobody. ``providers``: none, and this server does not push."""

    addresses: list[PushAddressState]
    providers: list[PushProviderState]


@frozen
class AddressBook:
    """One address a login, ten a user. ``providers``: those that this server pushes with."""

    database: Database
    executor: CommandExecutor
    clock: Clock
    providers: Mapping[str, PushProvider]

    def commands(self) -> Sequence[Command]:
        """Where there is no provider to push with, the list says so, and nothing can be subscribed."""
        listing = Command(
            "push.list", Nothing, PushAddresses, self.list, summary="Where the user is told while away.", cost=2
        )
        if not self.providers:
            return [listing]
        return [
            listing,
            Command(
                "push.subscribe", Subscribe, Nothing, self.subscribe, "keeps",
                summary="Be told of messages while away.", cost=5,
            ),
            Command(
                "push.unsubscribe", Unsubscribe, Nothing, self.unsubscribe, "keeps",
                summary="No longer be told while away.",
            ),
        ]  # fmt: skip

    async def subscribe(self, caller: Caller, request: Subscribe) -> Nothing:
        """Keep the address for the caller's login; the one that it had is replaced."""
        if request.provider not in self.providers:
            known = ", ".join(sorted(self.providers))
            raise Invalid(f"provider: {request.provider!r} is not one of this server's ({known}).", field="provider")
        self.providers[request.provider].check(request.address)
        address = views.as_json(request.address)
        if len(address.encode()) > LONGEST_ADDRESS:
            raise Invalid(
                f"address: An address has at most {LONGEST_ADDRESS} bytes.", field="address", limit=LONGEST_ADDRESS
            )

        def work(tx: Tx, me: str, wanted: Subscribe) -> Nothing:
            device = None
            if caller.token is not None:
                device = push_addresses.device_of(tx.connection, me, caller.token, tx.now)
            if caller.token is None or device is None:
                raise NotAuthenticated("token: Only a login that lives can be told while away.", field="token")
            if wanted.device not in (None, device):
                raise Invalid("device: A device is told only where it is logged in itself.", field="device")
            push_addresses.keep(tx.connection, me, caller.token, wanted.provider, address, tx.now)
            push_due.bring_forward(tx.connection, me, tx.now + SOON_MS)
            return Nothing()

        return await self.executor.run(caller, "push.subscribe", request, work, Nothing)

    async def unsubscribe(self, caller: Caller, request: Unsubscribe) -> Nothing:
        """Content where there is no address."""
        if request.device is not None and request.login is not None:
            raise Invalid("login: Name a device or a login, not both.", field="login")

        def work(tx: Tx, me: str, wanted: Unsubscribe) -> Nothing:
            if wanted.device is not None:
                push_addresses.drop_device(tx.connection, me, wanted.device)
            elif (family := wanted.login or caller.token) is not None:
                push_addresses.drop(tx.connection, me, family)
            return Nothing()

        return await self.executor.run(caller, "push.unsubscribe", request, work, Nothing)

    async def list(self, caller: Caller, request: Nothing) -> PushAddresses:
        """The user's addresses, without what they hold."""
        me, now = caller_user(caller), self.clock.wall_ms()
        found = await self.database.read(lambda connection: push_addresses.of(connection, me, now))
        return PushAddresses(
            addresses=[
                PushAddressState(
                    login=each.login,
                    device=each.device,
                    provider=each.provider,
                    subscribed_at=each.subscribed_at,
                    current=each.login == caller.token,
                )
                for each in found
            ],
            providers=[
                PushProviderState(name=name, public=dict(provider.public()))
                for name, provider in sorted(self.providers.items())
            ],
        )
