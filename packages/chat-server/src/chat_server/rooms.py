"""The composition root's first half: the rooms of one process, wired to each other and to the ports.

This module alone knows im, logic, auth and router, and hands im what files offer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import structlog
from attrs import define
from chat_common.clock import Clock
from chat_common.memory.cache import MemoryCache
from chat_common.ports.cache import Cache
from chat_common.ports.database import Database
from chat_common.ports.directory import Directory
from chat_common.ports.identity import IdentityProvider
from chat_common.ports.outbox import Outbox
from chat_common.ports.push import PushProvider
from chat_common.records import Command, Consumer, ContentKind, Context, Task

from chat_server.auth.service import Auth, page_key
from chat_server.auth.settings import AuthSettings
from chat_server.auth.tokens import Tokens, forget_expired, stored_secret
from chat_server.files.attachments import Attachments
from chat_server.im import inbox
from chat_server.im.fanout import Fanout, FanoutSettings
from chat_server.im.kinds import Kinds
from chat_server.im.service import Im, ImSettings
from chat_server.im.submit import Submit
from chat_server.im.sweeper import Sweeper
from chat_server.logic import users
from chat_server.logic.service import Logic
from chat_server.router.push import OfflinePush
from chat_server.router.service import Router
from chat_server.store import epoch
from chat_server.store.executor import CommandExecutor
from chat_server.store.replies import forget_replies
from chat_server.store.topics import CHANGED, STORED

log = structlog.get_logger("chat.rooms")
SAVE_EVERY = 1.0
SWEEP_EVERY = 2.0
PUSH_EVERY = 1.0
TIDY_EVERY = 60.0
LOGIN_EVERY = 1.0


@define
class Rooms:
    """im, logic, auth and router of one process."""

    im: Im
    logic: Logic
    auth: Auth
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

    def commands(self) -> Sequence[Command]:
        """All client commands of the rooms."""
        return [*self.im.commands(), *self.logic.commands(), *self.auth.commands(), *self.push.commands()]

    def consumers(self) -> Sequence[Consumer]:
        """What fan-out reads."""
        return [
            Consumer(STORED, "fanout", self.fanout.stored, batch=200),
            Consumer(CHANGED, "own", self.fanout.changed, batch=200),
        ]

    def tasks(self) -> Sequence[Task]:
        """The rooms' background work."""
        return [
            Task("fanout-cursors", self._every(SAVE_EVERY, self.fanout.save), "im"),
            Task("sweeper", self._every(SWEEP_EVERY, self.sweeper.sweep), "im"),
            Task("offline-push", self._every(PUSH_EVERY, self.push.send_due), "router"),
            Task("login-expiry", self._every(LOGIN_EVERY, self.auth.logins.expire), "auth"),
            Task("tidy", self._every(TIDY_EVERY, self.tidy), "im"),
        ]

    @staticmethod
    def _every(seconds: float, work: Callable[[], Any]) -> Callable[[Context], Any]:
        async def run(_context: Context) -> None:
            while True:
                await asyncio.sleep(seconds)
                await work()

        return run

    async def tidy(self) -> None:
        """Forget kept replies and tokens that are over, in small batches."""
        now = self.clock.wall_ms()
        await self.database.change(lambda connection: forget_replies(connection, now))
        await self.database.change(lambda connection: forget_expired(connection, now))


async def build(
    *,
    database: Database,
    outbox: Outbox,
    directory: Directory,
    clock: Clock,
    node: str,
    kinds: Mapping[str, ContentKind],
    im_settings: ImSettings,
    fanout_settings: FanoutSettings,
    auth_settings: AuthSettings,
    observe: Callable[[str, Any], None],
    push_providers: Mapping[str, PushProvider],
    lease: float,
    cache: Cache | None = None,
    identity_providers: Mapping[str, IdentityProvider] | None = None,
) -> Rooms:
    """Wire the rooms. The gateways are attached to ``rooms.router`` by the caller."""
    known = Kinds(kinds)

    def first_start(connection: Any) -> tuple[str, str]:
        return epoch.ensure(connection), auth_settings.secret or stored_secret(connection)

    current, secret = await database.change(first_start)
    executor = CommandExecutor(database, outbox, clock, known.preview)
    attachments = Attachments()
    submit = Submit(database, outbox, clock, known, attachments)
    router = Router(node, directory, database)
    fanout = Fanout(database, executor, clock, fanout_settings, known.preview, router.deliver, observe)
    tokens = Tokens({"1": secret}, clock, auth_settings.token_lifetime)
    auth = Auth(
        database,
        executor,
        tokens,
        clock,
        auth_settings,
        users.create,
        router.close,
        router.online,
        cache=cache or MemoryCache(clock),
        providers=identity_providers or {},
        node=node,
        tell=router.tell,
        deliver=router.deliver,
        page_key=page_key(secret),
    )
    logic = Logic(
        database, executor, lambda tx, me, name: inbox.one(tx.connection, tx.preview, me, name), router.deliver
    )
    im = Im(database, executor, known, submit, fanout, im_settings, attachments)
    sweeper = Sweeper(database, outbox, clock)
    push = OfflinePush(database, executor, directory, clock, push_providers, known.preview, lease)
    return Rooms(im, logic, auth, router, fanout, submit, executor, known, sweeper, push, database, clock, current)
