"""Logins by ticket: begun on one screen, decided on a phone, delivered to the screen that waits, once.

Two secrets: the *ticket* stays with the waiting client, the *code* (a hash of it) stands in the link. Who photographs
the QR picture cannot collect the token; who polls with the code gets nothing. The state lives in the cache, so that any
node can serve the phone: ``login:CODE`` who waits, ``…:scanned``, and ``…:done``, which exactly one decision adds.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import heapq
import io
import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any, Literal

import msgspec
from attrs import define, frozen
from chat_common import wire
from chat_common.decoding import prepare
from chat_common.errors import Invalid, RateLimited
from chat_common.events import LoginProgress
from chat_common.ports.identity import IdentityProvider, Proof, TicketIdentity, Waiting
from chat_common.records import Caller, Push
from chat_common.settings import nearest
from chat_common.validation import named
from msgspec import UNSET, Meta, UnsetType

from chat_server.auth.collect import Collector
from chat_server.auth.devices import DeviceInfo, newcomer
from chat_server.auth.issue import Issuer, TooManyLogins
from chat_server.auth.neighbours import Ports
from chat_server.auth.policy import Newcomer
from chat_server.counting import allow_address_everywhere
from chat_server.services import SessionPush

KEPT = 300.0
"""Seconds that a decision outlives its ticket, so that nothing can be decided again."""
LOOK = 1.0
"""Seconds after which a waiting poll looks again: another node may have served the phone."""
LONGEST = 900.0
"""Seconds that any login waits at most."""
BEGUN, BEGUN_WITHIN = 64, 120.0
"""Tickets begun from one address within so many seconds: no more of them are alive at a time."""
DECIDING = "deciding"
"""Somebody has confirmed, and the login is being made."""
State = Literal["waiting", "scanned", "succeeded", "refused", "expired"]


@define(kw_only=True)
class BeginLogin:
    """``device``: what waits, its id or more; shown to the person who confirms. ``replace``: a device or login to end,
    where there are too many."""

    provider: named(32)  # type: ignore[valid-type]
    device: wire.Id | DeviceInfo | None = None
    replace: wire.Id | None = None


@define(kw_only=True)
class LoginBegun:
    """Show ``picture`` (a data URL) or ``url`` as a QR picture. ``warning``: why no phone may reach it."""

    ticket: str
    url: str
    expires_in: float
    picture: str
    warning: str | UnsetType = UNSET


@define(kw_only=True)
class PollLogin:
    """Answered when the state is another than ``state`` (default: than it is now), after ``wait`` s at the latest."""

    ticket: wire.Id
    wait: Annotated[float, Meta(ge=0, le=25)] | None = None
    state: State | None = None


@define(kw_only=True)
class LoginState:
    """``token``, ``user``, ``expires_at`` once, when it has succeeded and was begun without a session."""

    state: State
    token: str | UnsetType = UNSET
    user: wire.User | UnsetType = UNSET
    expires_at: int | UnsetType = UNSET


@frozen
class Record:
    """A login that waits. With a ``session``, the ticket is kept for its pushes."""

    waiting: Waiting
    provider: str
    session: str | None
    node: str
    ticket: str | None
    replace: str | None


prepare(Record, State)


def code_of(ticket: str) -> str:
    """The code that belongs to a ticket: 132 bits, from which the ticket cannot be found."""
    return base64.urlsafe_b64encode(hashlib.sha256(b"login " + ticket.encode()).digest()).decode()[:22]


def picture(url: str) -> str:
    """The link as a QR picture, dark on light whatever the page's colours are."""
    import segno  # 20 ms, which no start need wait for

    out = io.BytesIO()
    segno.make(url, error="m", micro=False).save(out, kind="svg", scale=8, border=4, xmldecl=False, light="#fff")
    return "data:image/svg+xml;base64," + base64.b64encode(out.getvalue()).decode()


@frozen
class TicketNeighbours:
    """What tickets need: the providers by name, and the one way to a token."""

    providers: Mapping[str, IdentityProvider]
    issuer: Issuer
    collector: Collector
    tell: Callable[[SessionPush], Awaitable[bool]]


class TicketLogins:
    """Implements `chat_common.ports.identity.Logins`, and the commands ``auth.begin`` and ``auth.poll``."""

    def __init__(self, ports: Ports, neighbours: TicketNeighbours) -> None:
        self._cache, self._clock, self._node = ports.cache, ports.clock, ports.node
        self._near = neighbours
        self._polls: dict[str, set[asyncio.Future[None]]] = {}
        self._ends: list[tuple[float, str, Record]] = []

    # --- the waiting screen -----------------------------------------------------------------------------------------

    async def begin(self, caller: Caller, request: BeginLogin) -> LoginBegun:
        """A fresh ticket. `Invalid`: no such provider, or one without tickets; `RateLimited`."""
        provider = self._provider(request.provider)
        await self._count(caller.address)
        ticket = secrets.token_urlsafe(24)
        device = newcomer(caller, request.device, request.replace)
        waiting = Waiting(
            code_of(ticket), device.device, device.name, device.platform, caller.address, self._clock.wall_ms()
        )
        # The record stands before the link is made: a platform may report the scan before `begin` has returned.
        record = Record(
            waiting, provider.name, caller.session, self._node, ticket if caller.session else None, request.replace
        )
        await self._cache.put(_key(waiting.code), msgspec.json.encode(record), ttl=LONGEST)
        try:
            link = await provider.begin(waiting)
        except BaseException:
            await self._cache.delete(_key(waiting.code))
            raise
        lifetime = min(link.lifetime, LONGEST)
        await self._cache.put(_key(waiting.code), msgspec.json.encode(record), ttl=lifetime)
        if caller.session is not None:
            heapq.heappush(self._ends, (self._clock.monotonic() + lifetime, waiting.code, record))
        return LoginBegun(
            ticket=ticket,
            url=link.url,
            expires_in=lifetime,
            picture=picture(link.url),
            warning=UNSET if link.warning is None else link.warning,
        )

    def _provider(self, name: str) -> TicketIdentity:
        provider = self._near.providers.get(name)
        if provider is None:
            near = nearest(name, self._near.providers)
            raise Invalid(f"provider: {name!r} is not offered here: {near}", field="provider")
        if not isinstance(provider, TicketIdentity):
            raise Invalid(f"provider: {name!r} needs no ticket: call auth.{name}", field="provider")
        return provider

    async def _count(self, address: str | None) -> None:
        wait = await allow_address_everywhere(self._cache, "login:from", address, BEGUN, BEGUN_WITHIN)
        if wait:
            raise RateLimited(
                f"Too many logins were begun from this address. Try again in {wait:.0f} seconds.",
                limit=BEGUN,
                retry_after=round(wait, 3),
            )

    async def poll(self, caller: Caller, request: PollLogin) -> LoginState:
        """How it stands. What is unknown, over, or another session's is ``expired``."""
        code = code_of(request.ticket)
        record = await self._record(code)
        if record is None or record.session not in (None, caller.session):
            return LoginState(state="expired")
        state, login = await self._state(code)
        known = request.state or state
        loop = asyncio.get_running_loop()
        end = loop.time() + (request.wait or 0.0)
        while state == known and state in ("waiting", "scanned") and (left := end - loop.time()) > 0:
            await self._changed(code, min(left, LOOK))
            state, login = await self._state(code)
        if state != "succeeded" or record.session is not None:
            return LoginState(state=state)
        if await self._cache.take(_key(code)) is None:
            return LoginState(state="expired")
        made = await self._near.collector.collect(login)
        if made is None:  # Ended before it was collected: another password, a ban, a kick.
            return LoginState(state="refused")
        return LoginState(state=state, token=made.token, user=made.user, expires_at=made.expires_at)

    async def expire(self) -> None:
        """Tell the sessions of this node whose tickets have run out."""
        now = self._clock.monotonic()
        while self._ends and self._ends[0][0] <= now:
            _, code, record = heapq.heappop(self._ends)
            if await self._decide(code, "expired"):
                await self._push(record, {"state": "expired"})

    # --- Logins -----------------------------------------------------------------------------------------------------

    async def waiting(self, code: str) -> Waiting | None:
        record = await self._record(code)
        if record is None or await self._cache.get(_key(code, "done")) is not None:
            return None
        return record.waiting

    async def waiting_for(self, code: str, provider: str) -> Waiting | None:
        """`waiting`, for a login that was begun with this provider: another's page has no say in it."""
        record = await self._record(code)
        return None if record is None or record.provider != provider else await self.waiting(code)

    def age(self, waiting: Waiting) -> int:
        """Return how many seconds ago the login was begun."""
        return max(0, (self._clock.wall_ms() - waiting.begun_at) // 1000)

    async def scanned(self, code: str) -> None:
        record = await self._record(code)
        if record is None or not await self._cache.add(_key(code, "scanned"), b"1", ttl=KEPT):
            return
        if await self._cache.get(_key(code, "done")) is None:
            self._wake(code)
            await self._push(record, {"state": "scanned"})

    async def succeed(self, code: str, proof: Proof) -> bool:
        return await self._succeed(code, proof)

    async def succeed_as(self, code: str, user: str) -> bool:
        """`succeed` for somebody who is proven to be this user."""
        return await self._succeed(code, user)

    async def _succeed(self, code: str, who: Proof | str) -> bool:
        record = await self._record(code)
        if record is None or not await self._decide(code, DECIDING):
            return False
        waiting = record.waiting
        device = Newcomer(waiting.device, waiting.platform, waiting.device_name, waiting.address, record.replace)
        try:
            made = await self._near.issuer.log_in(who, device, record.provider)
        except BaseException as error:
            await self._settle(code, "refused")
            details = error.details if isinstance(error, TooManyLogins) and error.details else {}
            await self._push(record, {"state": "refused", **details})
            raise
        login = self._near.collector.login_of(made.token)
        # The login is named, not its token: who polls gets one only if the login was not ended meanwhile.
        await self._settle(code, f"succeeded {login}")
        if record.session is None:
            return True
        done = {"state": "succeeded", "token": made.token, "user": made.user, "expires_at": made.expires_at}
        if await self._push(record, done):
            return True
        await self._near.collector.discard(login)
        return False

    async def refuse(self, code: str) -> bool:
        record = await self._record(code)
        if record is None or not await self._decide(code, "refused"):
            return False
        await self._push(record, {"state": "refused"})
        return True

    # --- state ------------------------------------------------------------------------------------------------------

    async def _record(self, code: str) -> Record | None:
        found = await self._cache.get(_key(code))
        return None if found is None else msgspec.json.decode(found, type=Record)

    async def _state(self, code: str) -> tuple[State, str]:
        done = await self._cache.get(_key(code, "done"))
        if done is not None:
            state, _, login = done.decode().partition(" ")
            return ("scanned" if state == DECIDING else msgspec.convert(state, State)), login
        if await self._cache.get(_key(code)) is None:
            return "expired", ""
        return ("waiting" if await self._cache.get(_key(code, "scanned")) is None else "scanned"), ""

    async def _decide(self, code: str, outcome: str) -> bool:
        won = await self._cache.add(_key(code, "done"), outcome.encode(), ttl=KEPT)
        if won:
            self._wake(code)
        return won

    async def _settle(self, code: str, outcome: str) -> None:
        await self._cache.put(_key(code, "done"), outcome.encode(), ttl=KEPT)
        self._wake(code)

    async def _push(self, record: Record, data: dict[str, Any]) -> bool:
        if record.session is None:
            return False
        push = Push("login", LoginProgress(ticket=record.ticket or "", **data))
        return await self._near.tell(SessionPush(record.session, record.node, push))

    async def _changed(self, code: str, timeout: float) -> None:
        waiter = asyncio.get_running_loop().create_future()
        polls = self._polls.setdefault(code, set())
        polls.add(waiter)
        try:
            await asyncio.wait([waiter], timeout=timeout)
        finally:
            polls.discard(waiter)
            if not polls and self._polls.get(code) is polls:
                del self._polls[code]

    def _wake(self, code: str) -> None:
        for waiter in self._polls.get(code, ()):
            if not waiter.done():
                waiter.set_result(None)


def _key(code: str, part: str = "") -> str:
    return f"login:{code}:{part}" if part else f"login:{code}"
