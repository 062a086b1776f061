"""Logins by ticket: begun on one screen, decided on a phone, delivered to the screen that waits, once.

Two secrets: the *ticket* stays with the waiting client, the *code* (a hash of it) stands in the link. Who photographs
the QR picture cannot collect the token; who polls with the code gets nothing. The state lives in the cache, so that any
node can serve the phone: ``login:CODE`` who waits, ``…:scanned``, and ``…:done``, which exactly one decision adds.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import secrets
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any, Literal

import msgspec
from attrs import define, frozen
from chat_common import wire
from chat_common.clock import Clock
from chat_common.errors import ChatError, Invalid, RateLimited
from chat_common.events import LoginProgress
from chat_common.ports.cache import Cache
from chat_common.ports.identity import IdentityProvider, Proof, Waiting
from chat_common.records import Caller, Push
from chat_common.settings import nearest
from chat_common.validation import named
from msgspec import UNSET, Meta, UnsetType

from chat_server.auth.devices import DeviceInfo, device_id
from chat_server.counting import allow_address_everywhere

LIFETIME = 120.0
KEPT = 300.0
"""Seconds that a decision outlives its login, so that nothing can be decided again."""
LOOK = 1.0
"""Seconds after which a waiting poll looks again: another node may have served the phone."""
BEGUN_A_MINUTE = 120
State = Literal["waiting", "scanned", "succeeded", "refused", "expired"]


@define(kw_only=True)
class BeginLogin:
    """``device``: what waits, its id or more; shown to the person who confirms."""

    provider: named(32)  # type: ignore[valid-type]
    device: wire.Id | DeviceInfo | None = None


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


@define(kw_only=True)
class LoggedIn:
    token: str
    expires_at: int
    user: wire.User


@frozen
class Record:
    """A login that waits. With a ``session``, the ticket is kept for its pushes."""

    waiting: Waiting
    session: str | None
    node: str
    ticket: str | None


Issue = Callable[[str, str | None], Awaitable[LoggedIn]]
Revoke = Callable[[str], Awaitable[None]]
Tell = Callable[[str, str, Push], Awaitable[bool]]
Prove = Callable[[Proof], Awaitable[str]]


def code_of(ticket: str) -> str:
    """The code that belongs to a ticket: 132 bits, from which the ticket cannot be found."""
    return base64.urlsafe_b64encode(hashlib.sha256(b"login " + ticket.encode()).digest()).decode()[:22]


def picture(url: str) -> str:
    """The link as a QR picture, dark on light whatever the page's colours are."""
    import segno  # 20 ms, which no start need wait for

    out = io.BytesIO()
    segno.make(url, error="m", micro=False).save(out, kind="svg", scale=8, border=4, xmldecl=False, light="#fff")
    return "data:image/svg+xml;base64," + base64.b64encode(out.getvalue()).decode()


class TicketLogins:
    """Implements `chat_common.ports.identity.Logins`, and the commands ``auth.begin`` and ``auth.poll``.

    ``issue(user, device)`` makes a token (`NotPermitted`: banned), ``revoke(token)`` ends it, ``tell(session, node,
    push)`` reaches the waiting session, ``prove(proof)`` gives the user of a proven identity.
    """

    def __init__(
        self,
        cache: Cache,
        clock: Clock,
        node: str,
        providers: Mapping[str, IdentityProvider],
        *,
        issue: Issue,
        revoke: Revoke,
        tell: Tell,
        prove: Prove,
    ) -> None:
        self._cache = cache
        self._clock = clock
        self._node = node
        self._providers = providers
        self._issue, self._revoke, self._tell, self._prove = issue, revoke, tell, prove
        self._polls: dict[str, set[asyncio.Future[None]]] = {}
        self._ends: deque[tuple[float, str, Record]] = deque()

    # --- the waiting screen -----------------------------------------------------------------------------------------

    async def begin(self, caller: Caller, request: BeginLogin) -> LoginBegun:
        """A fresh ticket. `Invalid`: no such provider, or one without tickets."""
        provider = self._providers.get(request.provider)
        if provider is None:
            raise Invalid(
                f"provider: {request.provider!r} is not offered: {nearest(request.provider, self._providers)}",
                field="provider",
            )
        wait = await allow_address_everywhere(self._cache, "login:from", caller.address, BEGUN_A_MINUTE, 60.0)
        if wait:
            raise RateLimited(f"too many logins begun: again in {wait:.1f} s", retry_after=round(wait, 3))
        ticket = secrets.token_urlsafe(24)
        info = request.device if isinstance(request.device, DeviceInfo) else None
        waiting = Waiting(
            code_of(ticket),
            device_id(request.device) or caller.device,
            info.name if info else None,
            info.platform if info else None,
            caller.address,
            self._clock.wall_ms(),
        )
        link = await provider.begin(waiting)
        record = Record(waiting, caller.session, self._node, ticket if caller.session else None)
        await self._cache.put(_key(waiting.code), msgspec.json.encode(record), ttl=LIFETIME)
        if caller.session is not None:
            self._ends.append((self._clock.monotonic() + LIFETIME, waiting.code, record))
        return LoginBegun(
            ticket=ticket,
            url=link.url,
            expires_in=LIFETIME,
            picture=picture(link.url),
            warning=UNSET if link.warning is None else link.warning,
        )

    async def poll(self, caller: Caller, request: PollLogin) -> LoginState:
        """How it stands. What is unknown, over, or another session's is ``expired``."""
        code = code_of(request.ticket)
        record = await self._record(code)
        if record is None or record.session not in (None, caller.session):
            return LoginState(state="expired")
        state, user = await self._state(code)
        known = request.state or state
        loop = asyncio.get_running_loop()
        end = loop.time() + (request.wait or 0.0)
        while state == known and state in ("waiting", "scanned") and (left := end - loop.time()) > 0:
            await self._changed(code, min(left, LOOK))
            state, user = await self._state(code)
        if state != "succeeded" or record.session is not None:
            return LoginState(state=state)
        if await self._cache.take(_key(code)) is None:
            return LoginState(state="expired")
        made = await self._issue(user, record.waiting.device)
        return LoginState(state=state, token=made.token, user=made.user, expires_at=made.expires_at)

    async def expire(self) -> None:
        """Tell the sessions of this node whose tickets have run out."""
        now = self._clock.monotonic()
        while self._ends and self._ends[0][0] <= now:
            _, code, record = self._ends.popleft()
            if await self._decide(code, "expired"):
                await self._push(record, {"state": "expired"})

    # --- Logins -----------------------------------------------------------------------------------------------------

    async def waiting(self, code: str) -> Waiting | None:
        record = await self._record(code)
        if record is None or await self._cache.get(_key(code, "done")) is not None:
            return None
        return record.waiting

    async def scanned(self, code: str) -> None:
        record = await self._record(code)
        if record is None or not await self._cache.add(_key(code, "scanned"), b"1", ttl=KEPT):
            return
        if await self._cache.get(_key(code, "done")) is None:
            self._wake(code)
            await self._push(record, {"state": "scanned"})

    async def succeed(self, code: str, proof: Proof) -> bool:
        if await self.waiting(code) is None:
            return False
        return await self.succeed_as(code, await self._prove(proof))

    async def succeed_as(self, code: str, user: str) -> bool:
        """`succeed` for somebody who is proven to be this user."""
        record = await self._record(code)
        if record is None or not await self._decide(code, f"succeeded {user}"):
            return False
        if record.session is None:
            return True
        try:
            made = await self._issue(user, record.waiting.device)
        except ChatError:
            await self._push(record, {"state": "refused"})
            raise
        done = {"state": "succeeded", "token": made.token, "user": made.user, "expires_at": made.expires_at}
        if await self._push(record, done):
            return True
        await self._revoke(made.token)
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
            state, _, user = done.decode().partition(" ")
            return msgspec.convert(state, State), user
        if await self._cache.get(_key(code)) is None:
            return "expired", ""
        return ("waiting" if await self._cache.get(_key(code, "scanned")) is None else "scanned"), ""

    async def _decide(self, code: str, outcome: str) -> bool:
        won = await self._cache.add(_key(code, "done"), outcome.encode(), ttl=KEPT)
        if won:
            self._wake(code)
        return won

    async def _push(self, record: Record, data: dict[str, Any]) -> bool:
        if record.session is None:
            return False
        progress = LoginProgress(ticket=record.ticket or "", **data)
        return await self._tell(record.session, record.node, Push("login", progress))

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
