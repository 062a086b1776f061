"""The room's table of contents: its commands, the consumer that gives, and what it lends to other rooms."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import Annotated, Any, Literal

import msgspec
import structlog
from attrs import define, frozen
from chat_common import wire
from chat_common.errors import NotFound, Unavailable
from chat_common.ports.broker import BrokerRecord
from chat_common.ports.database import Database
from chat_common.records import Caller, CatalogueItem, Command, Consumer
from msgspec import Meta
from sqlalchemy import Connection, delete

from chat_server.contributions import RoomContributions
from chat_server.items import backpack, registrations
from chat_server.items.cards import RenameCards
from chat_server.items.catalogue import REGISTERED, Catalogue
from chat_server.items.grants import Grants, Pin
from chat_server.items.settings import ItemSettings
from chat_server.store import audit, pages, views
from chat_server.store.executor import CommandExecutor, caller_user
from chat_server.store.schema import item
from chat_server.store.tx import Tx, new_id, require_users

log = structlog.get_logger("chat.items")
Ref = Annotated[str, Meta(min_length=1, max_length=64)]
PORTION = 50
"""Registrations whose items one transaction gives: in the order of their users, so that no two wait in a circle."""
_registered = msgspec.json.Decoder(registrations.Registered)


@define(kw_only=True)
class GrantItem:
    """``ref``: what it is given for; given again under the same ref, nothing more is given."""

    user: wire.Id
    item: wire.Id
    ref: Ref | None = None


@define(kw_only=True)
class ItemGranted:
    """``granted`` false: the user had it already, or was given it under this ref before."""

    item: wire.Item
    granted: bool


@define(kw_only=True)
class ListItemsOf:
    user: wire.Id
    cursor: pages.Cursor | None = None
    limit: pages.Limit | None = None


@frozen
class Neighbours:
    """``pin`` puts a badge beside a name; ``seen`` tells those who see this user, after the commit."""

    pin: Pin
    seen: Callable[[str], Awaitable[None]]


class Items:
    """What have users earned? `SetupError`: an entry of the catalogue is none."""

    def __init__(
        self,
        database: Database,
        executor: CommandExecutor,
        neighbours: Neighbours,
        settings: ItemSettings,
        plugged: Iterable[CatalogueItem],
    ) -> None:
        self._database = database
        self._executor = executor
        self._neighbours = neighbours
        self._settings = settings
        self.catalogue = Catalogue(plugged, settings.catalogue)
        self.grants = Grants(self.catalogue, neighbours.pin)

    # --- what other rooms are handed ----------------------------------------------------------------------------------

    def begin(self, connection: Connection) -> None:
        """Within the first transaction of a start."""
        if self._counts():
            registrations.begin_counting(connection)

    def counted(self, create: registrations.Create) -> registrations.Create:
        """How users are made: counted where a registration gives something."""
        return registrations.counted(create) if self._counts() else create

    def rename_cost(self) -> RenameCards | None:
        """What a rename costs; None: nothing."""
        return RenameCards() if self._settings.enabled and not self._settings.free_renames else None

    def forget(self, tx: Tx, who: str) -> None:
        """The account is deleted: so is what it was given."""
        tx.connection.execute(delete(item).where(item.c.user == who))

    def _counts(self) -> bool:
        return self._settings.enabled and self.catalogue.gives_at(REGISTERED)

    # --- what comes from the outbox -----------------------------------------------------------------------------------

    async def registered(self, records: Sequence[BrokerRecord]) -> None:
        """Give new users what there is for them. Done again, it gives nothing more."""
        told = sorted((_registered.decode(record.payload) for record in records), key=lambda each: each.user)
        for start in range(0, len(told), PORTION):
            portion = told[start : start + PORTION]

            def give(tx: Tx, portion: Sequence[registrations.Registered] = portion) -> list[str]:
                return [each.user for each in portion if self._give(tx, each)]

            for user in await self._executor.apply(give):
                await self._neighbours.seen(user)

    def _give(self, tx: Tx, told: registrations.Registered) -> bool:
        """Whether the user wears something new by it. Nothing is written for one who is gone."""
        worn = False
        for name, entry in self.catalogue.entries.items():
            for piece in range(entry.given_at(REGISTERED, told.number)):
                business = f"u:{told.user}" if not piece else f"u:{told.user}:{piece}"
                try:
                    worn |= self.grants.grant(tx, told.user, name, "registered", business).worn
                except NotFound:
                    log.info("registered_user_is_gone", user=told.user)
                    return worn
        return worn

    # --- what those who run the server do -----------------------------------------------------------------------------

    async def grant(self, by: str, request: GrantItem) -> ItemGranted:
        """Give a user an item, by hand. `NotFound`: no such user or item."""
        self._require()

        def work(tx: Tx) -> tuple[ItemGranted, bool]:
            business = f"u:{request.user}:{request.ref or new_id()}"
            given = self.grants.grant(tx, request.user, request.item, "admin", business)
            if given.new:
                audit.note(tx.connection, tx.now, by, "item.grant", request.user, item=request.item, ref=request.ref)
            return ItemGranted(item=views.item_record(given.row), granted=given.new), given.worn

        granted, worn = await self._executor.apply(work)
        if worn:
            await self._neighbours.seen(request.user)
        return granted

    async def list_of(self, by: str, request: ListItemsOf) -> backpack.ItemsPage:
        """A page of a user's backpack, the newest first; `NotFound`."""
        self._require()

        def read(connection: Connection) -> backpack.ItemsPage:
            require_users(connection, [request.user])
            return backpack.page(connection, self.catalogue, request.user, "admin.item.list", request)

        return await self._database.read(read)

    # --- what users do ------------------------------------------------------------------------------------------------

    async def _list(self, caller: Caller, request: backpack.ListItems) -> backpack.ItemsPage:
        who = caller_user(caller)
        self._require()
        return await self._database.read(
            lambda connection: backpack.page(connection, self.catalogue, who, "item.list", request)
        )

    async def _badges(self, caller: Caller, request: backpack.NoParams) -> backpack.Badges:
        who = caller_user(caller)
        self._require()
        return await self._database.read(lambda connection: backpack.badges(connection, self.catalogue, who))

    async def _wear(self, caller: Caller, request: backpack.WearBadge) -> backpack.BadgeWorn:
        caller_user(caller)
        self._require()
        wear = partial(backpack.wear, self.catalogue, self._neighbours.pin)
        worn: backpack.BadgeWorn = await self._executor.run(caller, "badge.wear", request, wear, backpack.BadgeWorn)
        await self._neighbours.seen(worn.user.user)
        return worn

    def _require(self) -> None:
        if not self._settings.enabled:
            raise Unavailable("There are no items on this server: [items] enabled is off.")

    def contributions(self) -> RoomContributions:
        """Its commands; the consumer only where it has work."""
        consumers = [Consumer(registrations.TOPIC, "items", self.registered)] if self._counts() else []
        return RoomContributions(room="items", commands=self.commands(), consumers=consumers)

    def commands(self) -> Sequence[Command]:
        """The client commands of this room. Where items are off they answer `Unavailable`."""

        def office(
            name: str,
            request: type[Any],
            reply: type[Any],
            use_case: Callable[[str, Any], Awaitable[Any]],
            mode: Literal["reads", "changes"],
            summary: str,
        ) -> Command:
            async def handler(caller: Caller, params: Any) -> Any:
                return await use_case(caller_user(caller), params)

            return Command(f"admin.{name}", request, reply, handler, mode, callers="admins", summary=summary, cost=5)

        return [
            Command(
                "item.list", backpack.ListItems, backpack.ItemsPage, self._list, summary="One's backpack.", cost=2
            ),
            Command("badge.list", backpack.NoParams, backpack.Badges, self._badges, summary="All badges.", cost=2),
            Command(
                "badge.wear", backpack.WearBadge, backpack.BadgeWorn, self._wear, "keeps",
                summary="Wear a badge beside one's name, or none.", cost=20,
            ),
            office("item.grant", GrantItem, ItemGranted, self.grant, "changes", "Give a user an item."),
            office("item.list", ListItemsOf, backpack.ItemsPage, self.list_of, "reads", "What a user was given."),
        ]  # fmt: skip
