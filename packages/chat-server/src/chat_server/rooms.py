"""The composition root's first half: the rooms of one process, wired to each other and to the ports.

This module alone knows im, logic, auth, admin, items and router, and hands im what files offer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from attrs import define, field, frozen
from chat_common import wire
from chat_common.clock import Clock
from chat_common.ports.cache import Cache
from chat_common.ports.database import Database
from chat_common.ports.directory import Directory
from chat_common.ports.files import Attachments, NoAttachments
from chat_common.ports.identity import IdentityProvider
from chat_common.ports.outbox import Outbox
from chat_common.ports.push import PushProvider
from chat_common.records import CatalogueItem, Check, ContentKind

from chat_server.admin.neighbours import FilesOf, Leaving, no_files
from chat_server.admin.neighbours import Neighbours as AdminNeighbours
from chat_server.admin.service import Admin
from chat_server.auth import neighbours as auth_neighbours
from chat_server.auth.keys import signing_keys
from chat_server.auth.public_address import PublicAddress
from chat_server.auth.service import Auth
from chat_server.auth.settings import AuthSettings
from chat_server.contributions import RoomContributions, every
from chat_server.embedding.people import People
from chat_server.im import inbox, messages, withdrawal
from chat_server.im.fanout import Fanout
from chat_server.im.heat import FanoutSettings
from chat_server.im.kinds import Kinds
from chat_server.im.own_changes import OwnChanges
from chat_server.im.retention import Retention
from chat_server.im.search.find import Search
from chat_server.im.search.indexer import Indexer
from chat_server.im.search.settings import SearchSettings
from chat_server.im.service import Im, ImParts, ImSettings
from chat_server.im.submit import Submit
from chat_server.im.sweeper import Sweeper
from chat_server.items.service import Items
from chat_server.items.service import Neighbours as ItemNeighbours
from chat_server.items.settings import ItemSettings
from chat_server.logic import departure, direct, users
from chat_server.logic.groups import roles
from chat_server.logic.groups.invitations import OneConversation
from chat_server.logic.service import Logic
from chat_server.logic.settings import LogicSettings
from chat_server.names.screening import Naming, unscreened
from chat_server.refusals import Refusals
from chat_server.router.push import OfflinePush, PushPorts
from chat_server.router.service import Router
from chat_server.router.settings import PushSettings
from chat_server.store import epoch
from chat_server.store.audit import forget_notes
from chat_server.store.executor import CommandExecutor
from chat_server.store.leases import Lease
from chat_server.store.replies import forget_replies
from chat_server.store.reports import ReportSettings, forget_reports
from chat_server.store.tx import Tx

TIDY_EVERY = 60.0


@frozen(kw_only=True)
class RoomPorts:
    """What the rooms stand on: the ports of this process, and where it is. ``screen``: the interceptors at `submit`.
    ``files()``: the service that takes files in.
    ``lease`` gives the lease of a name, for work that one of several servers does."""

    database: Database
    outbox: Outbox
    directory: Directory
    cache: Cache
    clock: Clock
    node: str
    kinds: Mapping[str, ContentKind]
    push_providers: Mapping[str, PushProvider] = field(factory=dict)
    identity_providers: Mapping[str, IdentityProvider] = field(factory=dict)
    public_address: PublicAddress = field(factory=lambda: PublicAddress("", "127.0.0.1", 8080))
    attachments: Attachments = field(factory=NoAttachments)
    files: FilesOf = no_files
    items: Sequence[CatalogueItem] = ()
    screen: Check = unscreened
    lease: Callable[[str], Lease] = Lease
    refusals: Refusals = field(factory=Refusals)


@frozen(kw_only=True)
class RoomSettings:
    """The settings sections of the rooms. ``lease``: seconds that a session's route lasts, the gateway's setting."""

    im: ImSettings = field(factory=ImSettings)
    search: SearchSettings = field(factory=SearchSettings)
    fanout: FanoutSettings = field(factory=FanoutSettings)
    auth: AuthSettings = field(factory=AuthSettings)
    logic: LogicSettings = field(factory=LogicSettings)
    reports: ReportSettings = field(factory=ReportSettings)
    items: ItemSettings = field(factory=ItemSettings)
    push: PushSettings = field(factory=PushSettings)
    lease: float = 60.0

    @classmethod
    def read(cls, section: Callable[[str], Any]) -> RoomSettings:
        """The sections of these settings; ``section``: `chat_common.settings.Settings.section`."""
        return cls(
            im=section("im"),
            search=section("search"),
            fanout=section("fanout"),
            auth=section("auth"),
            logic=LogicSettings(section("groups"), section("users"), section("reports"), section("retention")),
            reports=section("reports"),
            items=section("items"),
            push=section("push"),
            lease=section("gateway").lease,
        )


@define
class Rooms:
    """im, logic, auth, admin and router of one process."""

    im: Im
    logic: Logic
    auth: Auth
    admin: Admin
    items: Items
    router: Router
    fanout: Fanout
    submit: Submit
    executor: CommandExecutor
    kinds: Kinds
    sweeper: Sweeper
    push: OfflinePush
    database: Database
    clock: Clock
    epoch: str
    reports: ReportSettings
    tidying: Lease
    people: People

    def contributions(self) -> Sequence[RoomContributions]:
        """What each room contributes."""
        return [
            self.im.contributions(),
            self.logic.contributions(),
            self.auth.contributions(),
            self.admin.contributions(),
            self.items.contributions(),
            self.push.contributions(),
            RoomContributions(room="store", tasks=[self.tidying.task(every(TIDY_EVERY, self.tidy))]),
        ]

    async def tidy(self) -> None:
        """Delete expired replies and tokens, a limited number at a time, so that other work can run in between; nothing
        while another server has the lease."""
        now, kept_days = self.clock.wall_ms(), self.reports.kept_days
        portions: Sequence[Callable[[Any], Any]] = [
            lambda connection: forget_replies(connection, now),
            self.auth.forget_old,
            lambda connection: forget_notes(connection, now),
            lambda connection: forget_reports(connection, now, kept_days),
        ]
        for portion in portions:
            while self.tidying.held and await self.database.change(portion):
                pass
        if self.tidying.held:
            await self.im.erase_words()


async def build(ports: RoomPorts, settings: RoomSettings, observe: Callable[[str, Any], None]) -> Rooms:
    """Wire the rooms. The gateways are attached to ``rooms.router`` by the caller.

    ``observe`` is called with each event that fan-out carries, for the observers of plugins.
    """
    database, outbox, clock = ports.database, ports.outbox, ports.clock
    known = Kinds(ports.kinds)

    executor = CommandExecutor(database, outbox, clock, known.preview)

    async def seen(who: str) -> None:
        logic.restamping.wake()
        await users.tell(database, router.deliver, who)

    items = Items(database, executor, ItemNeighbours(users.pin, seen), settings.items, ports.items)
    rules = settings.logic.users.rules
    create_user = items.counted(partial(users.create, rules))

    def first_start(connection: Any) -> tuple[str, Mapping[str, str]]:
        items.begin(connection)
        return epoch.ensure(connection), signing_keys(connection, settings.auth)

    current, keys = await database.change(first_start)
    submit = Submit(database, outbox, clock, known, ports.attachments)
    router = Router(ports.node, ports.directory)
    fanout = Fanout(database, executor, clock, settings.fanout, router.deliver, observe)
    own_changes = OwnChanges(database, known.preview, router.deliver)
    sweeper = Sweeper(database, outbox, clock, fanout, ports.lease("sweeper"))
    auth = Auth(
        auth_neighbours.Ports(database, executor, ports.cache, clock, ports.node),
        auth_neighbours.Neighbours(
            create_user,
            router.close,
            router.online,
            router.tell,
            router.deliver,
            Naming(rules, ports.screen, partial(ports.refusals.note_name, "registration")),
        ),
        settings.auth,
        keys,
        ports.identity_providers,
        ports.public_address,
    )

    def inbox_of(tx: Tx, me: str, name: str) -> wire.Inbox:
        return inbox.one(tx.connection, tx.preview, me, name)

    logic = Logic(database, executor, inbox_of, router.deliver, settings.logic, ports.attachments, items.rename_cost())

    def erase_profile(tx: Tx, who: str) -> None:
        departure.erase_profile(ports.attachments, tx, who)
        items.forget(tx, who)

    leaving = Leaving(
        erase_profile,
        departure.leave_contacts,
        departure.forget_contacts,
        departure.leave_rooms,
        partial(withdrawal.recall_all, ports.attachments),
        partial(withdrawal.purge_unread, ports.attachments),
    )
    admin = Admin(
        database,
        executor,
        AdminNeighbours(
            auth.accounts,
            rules,
            create_user,
            users.call,
            lambda who: users.tell(database, router.deliver, who),
            lambda tx, owner, name: roles.dissolve(tx, owner, OneConversation(conversation=name)),
            lambda tx, owner, name, who: roles.transfer(
                settings.logic.groups, tx, owner, roles.Transfer(conversation=name, user=who)
            ),
            lambda tx, name, seq: messages.take_down(ports.attachments, tx, name, seq),
            lambda tx, who, other: direct.open_direct(inbox_of, tx, who, direct.OpenDirect(user=other)).conversation,
            leaving,
            ports.files,
            auth.prove_again,
        ),
        ports.cache,
        settings.logic.users.exports,
    )
    search = Search(database, known, settings.search)
    indexer = Indexer(database, clock, known, settings.search, ports.lease("search"))
    retention = Retention(executor, ports.attachments, settings.logic.retention, ports.lease("retention"))
    parts = ImParts(
        submit, fanout, own_changes, sweeper, ports.attachments, search, indexer, retention, settings.reports
    )
    im = Im(database, executor, known, parts, settings.im)
    push_ports = PushPorts(
        database=database,
        executor=executor,
        directory=ports.directory,
        clock=clock,
        providers=ports.push_providers,
        preview=known.preview,
    )
    push = OfflinePush(push_ports, settings.push, settings.lease, ports.lease("offline-push"))
    people = People(
        database,
        executor,
        auth.find,
        auth.ensure_user,
        partial(users.describe, ports.attachments),
        lambda who: users.tell(database, router.deliver, who),
    )
    return Rooms(
        im=im,
        logic=logic,
        auth=auth,
        admin=admin,
        items=items,
        router=router,
        fanout=fanout,
        submit=submit,
        executor=executor,
        kinds=known,
        sweeper=sweeper,
        push=push,
        database=database,
        clock=clock,
        epoch=current,
        reports=settings.reports,
        tidying=ports.lease("tidy"),
        people=people,
    )
