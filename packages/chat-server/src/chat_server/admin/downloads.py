"""``admin.user.export`` and ``user.export``: a link under which an export can be fetched, once, while it is made."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import msgspec
import structlog
from attrs import define, frozen
from chat_common.decoding import prepare
from chat_common.errors import ChatError, NotFound, NotPermitted, RateLimited
from chat_common.ports.cache import Cache
from chat_common.records import Caller
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from chat_server.admin.archive import zipped
from chat_server.admin.export import Gatherer
from chat_server.admin.neighbours import Neighbours
from chat_server.admin.records import OneUser
from chat_server.store import audit, rights
from chat_server.store.executor import CommandExecutor, caller_user
from chat_server.store.tx import Tx, require_users

log = structlog.get_logger("chat.export")
PATH = "/exports"
LINK_SECONDS = 300.0
DAY_SECONDS = 86_400.0
AT_ONCE = 4
"""Exports that one process makes at the same time."""
AGAIN_SECONDS = 60.0
LONGEST = 3600.0
"""Seconds after which a download is ended, so that nobody keeps a place by not reading."""


@define(kw_only=True)
class ExportMyself:
    """No parameters."""


@define(kw_only=True)
class ExportLink:
    """``url`` is relative to the server's address, and good for one GET until ``expires_at`` (ms since 1970)."""

    url: str
    expires_at: int


@frozen
class _Ticket:
    user: str
    by: str


prepare(_Ticket)


class Exports:
    """The use cases, and what answers under the links. ``a_day``: how often one may ask for the own data."""

    def __init__(self, executor: CommandExecutor, neighbours: Neighbours, cache: Cache, a_day: int) -> None:
        self._executor, self._neighbours, self._cache, self._a_day = executor, neighbours, cache, a_day
        self._running: set[str] = set()

    async def of(self, by: str, who: str) -> Gatherer:
        """What reads the data of ``who``, for ``by``, which the audit is told. `NotFound`."""

        def work(tx: Tx) -> None:
            require_users(tx.connection, [who])
            audit.note(tx.connection, tx.now, by, "user.export", who)

        await self._executor.apply(work)
        return await self._gatherer(who)

    async def _gatherer(self, who: str) -> Gatherer:
        executor = self._executor
        return Gatherer(executor.database, executor.clock, executor.preview, await self._neighbours.files(), who)

    # --- the use cases ------------------------------------------------------------------------------------------------

    async def for_admin(self, by: str, request: OneUser) -> ExportLink:
        """A link to somebody's data, for an admin; `NotFound`."""
        await self.of(by, request.user)
        return await self._link(_Ticket(request.user, by))

    async def for_oneself(self, caller: Caller, request: ExportMyself) -> ExportLink:
        """A link to the caller's own data. `RateLimited`; `NotPermitted` where the setting says so."""
        me = caller_user(caller)
        if not self._a_day:
            raise NotPermitted("Users cannot export their data here: ask who runs this server.")
        if wait := await self._cache.allow(f"exports:{me}", limit=self._a_day, period=DAY_SECONDS):
            text = f"You may export your data {self._a_day} times a day. Try again later."
            raise RateLimited(text, limit=self._a_day, retry_after=round(wait, 3))
        await self.of(me, me)
        return await self._link(_Ticket(me, me))

    async def _link(self, ticket: _Ticket) -> ExportLink:
        code = secrets.token_urlsafe(32)
        await self._cache.put(f"export:{code}", msgspec.json.encode(ticket), ttl=LINK_SECONDS)
        until = self._executor.clock.wall_ms() + round(LINK_SECONDS * 1000)
        return ExportLink(url=f"{PATH[1:]}/{code}", expires_at=until)

    # --- the downloads ------------------------------------------------------------------------------------------------

    def routes(self) -> Sequence[Route]:
        """For the HTTP application."""
        return [Route(f"{PATH}/{{code}}", self._answer, methods=["GET"])]

    async def _answer(self, request: Request) -> Response:
        if request.method != "GET":  # a look at the head must not use the link up
            return Response(status_code=405, headers={"allow": "GET"})
        if len(self._running) >= AT_ONCE:
            raise RateLimited("Too many exports are being made. Try again later.", retry_after=AGAIN_SECONDS)
        found = await self._cache.take(f"export:{request.path_params['code']}")
        if found is None:
            raise NotFound("This link is over: ask for another one.")
        ticket = msgspec.json.decode(found, type=_Ticket)
        await self._executor.database.read(lambda connection: self._still_may(connection, ticket))
        if ticket.user in self._running:
            raise RateLimited("This export is being made already. Try again later.", retry_after=AGAIN_SECONDS)
        self._running.add(ticket.user)
        try:
            gatherer = await self._gatherer(ticket.user)
            name = await gatherer.begin()
        except BaseException:
            self._running.discard(ticket.user)
            raise
        date = datetime.fromtimestamp(self._executor.clock.wall_ms() / 1000, UTC)
        return _Download(self, gatherer, f"chat-{name}-{date:%Y-%m-%d}.zip")

    def _still_may(self, connection: Any, ticket: _Ticket) -> None:
        """A role that was taken away, and a ban, count at once."""
        if ticket.by != ticket.user and rights.role_of(connection, ticket.by) != "admin":
            raise NotPermitted("Only admins may do this.")
        if rights.banned(connection, [ticket.by], self._executor.clock.wall_ms()):
            raise NotPermitted("You are banned.", reason="banned")

    def ended(self, who: str) -> None:
        """The download is over, however."""
        self._running.discard(who)


class _Download(StreamingResponse):
    """Ends with the connection cut, where it does not come to its end: nobody takes half of it for all."""

    def __init__(self, exports: Exports, gatherer: Gatherer, name: str) -> None:
        self._exports, self._gatherer = exports, gatherer
        headers = {
            # A login name may have letters of any script.
            "content-disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}",
            "cache-control": "no-store",
        }
        self._portions = zipped(gatherer.entries(), gatherer.clock.wall_ms())
        super().__init__(self._portions, headers=headers, media_type="application/zip")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            async with aclosing(self._portions), asyncio.timeout(LONGEST):
                await super().__call__(scope, receive, send)
        except (ChatError, TimeoutError) as error:
            log.warning("export_failed", user=self._gatherer.who, error=type(error).__name__, reason=str(error))
            raise
        finally:
            self._exports.ended(self._gatherer.who)
