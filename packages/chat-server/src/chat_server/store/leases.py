"""Named leases: work that several servers on one database do once, not once each.

A lease is a row: its holder, a fencing number that grows with each new holder, and its end by the database's clock. Who
holds it renews it; who ends gives it back; of a server that died it is taken over after its end. A lease saves work and
repetitions, it does not promise "exactly once": what is done under it must bear being done twice.

The database is what all servers share for sure, so nothing here asks the directory or the cache: while Redis is away,
leases go on.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping
from typing import Any, TypeVar

import structlog
from chat_common.clock import Clock
from chat_common.errors import ChatError
from chat_common.ports.database import Database
from chat_common.records import Context, Task
from sqlalchemy import Connection, select, text, update

from chat_server.store.schema import lease
from chat_server.store.statements import upsert

log = structlog.get_logger("chat.leases")

LEASE = 10.0
"""Seconds that a lease lasts; it is renewed after a third of that."""
LOOK = 0.5
"""Seconds between two looks at whether a task that runs on one server at a time is to run on this one."""
LAST_STEP = 2.0
"""Seconds that a server which stops waits for the step it is in, and for the database to take its leases back."""

R = TypeVar("R")
Run = Callable[[Context], Awaitable[None]]


class Leases:
    """What this server holds, where others use its database too. (Who is alone needs none of this: see `Lease`.)

    What is held is held for sure until a deadline counted from before the renewal on the process's own clock, so that
    a process which was stopped meanwhile knows that it holds nothing.
    """

    def __init__(self, database: Database, clock: Clock, node: str, ttl: float | None = None) -> None:
        self._database = database
        self._clock = clock
        self._ttl = LEASE if ttl is None else ttl
        self._wanted: set[str] = set()
        self._held: dict[str, tuple[int, float]] = {}
        # A renewal that is under way must not bring back what was given up meanwhile.
        self._one_at_a_time = asyncio.Lock()
        self.holder = f"{node}/{secrets.token_hex(4)}"

    def of(self, name: str) -> Lease:
        """The lease of this name, to be taken from now on whenever it is free."""
        self._wanted.add(name)
        return Lease(name, self)

    def tasks(self) -> list[Task]:
        """What renews."""
        return [Task("leases", self._run)]

    def holds(self, name: str) -> bool:
        """Whether this server holds it, by its own clock."""
        return name in self._held and self._clock.monotonic() < self._held[name][1]

    def verify(self, connection: Connection, name: str) -> bool:
        """Whether it holds it by the database, and so until the transaction ends."""
        if not self.holds(name):
            return False
        mine, _ = self._held[name]
        # The weakest lock: who takes a lease over locks its row for update first, who renews does not.
        fence = connection.execute(
            select(lease.c.fence)
            .where(lease.c.name == name, lease.c.holder == self.holder)
            .with_for_update(read=True, key_share=True)
        ).scalar_one_or_none()
        return fence == mine

    async def renew(self) -> None:
        """Renew what is held, and take what is free. Raises when the database cannot be asked; what was held until
        then is held until its deadline."""
        async with self._one_at_a_time:
            wanted = sorted(self._wanted)
            started = self._clock.monotonic()
            fences = await self._database.change(lambda connection: self._renew(connection, wanted))
            # A tenth is kept back for the drift between two clocks.
            deadline = started + self._ttl * 0.9
            for name in wanted:
                if (fence := fences.get(name)) != self._held.get(name, (None,))[0]:
                    log.info("lease_lost" if fence is None else "lease_taken", lease=name, fence=fence)
            self._held = {name: (fence, deadline) for name, fence in fences.items() if name in self._wanted}

    async def give_back(self, *names: str) -> None:
        """Give back these, or all, so that others need not wait; they are no longer taken until `of` names them again.
        Where the database does not answer in time, they end by themselves."""
        given = names or tuple(self._wanted)
        self._wanted.difference_update(given)
        for name in given:
            self._held.pop(name, None)
        try:
            async with asyncio.timeout(LAST_STEP), self._one_at_a_time:
                for name in given:
                    self._held.pop(name, None)
                await self._database.change(lambda connection: self._give_back(connection, given))
        except (ChatError, TimeoutError) as error:
            log.warning("leases_not_given_back", leases=sorted(given), reason=str(error))

    def once(self, task: Task) -> Task:
        """The same work, run while this server holds the lease of its name: begun when it has it, cancelled when it has
        lost it, and given to others when it ends or raises."""

        async def in_turn(context: Context) -> None:
            own = self.of(task.name)
            while True:
                while not own.held:  # noqa: ASYNC110 - it is lost by the clock alone, which sets no event
                    await asyncio.sleep(LOOK)
                running = asyncio.ensure_future(task.run(context))
                try:
                    while own.held and not running.done():
                        await asyncio.wait([running], timeout=LOOK)
                finally:
                    ended = running.done()
                    running.cancel()
                    await asyncio.gather(running, return_exceptions=True)
                    if ended:
                        await self.give_back(task.name)
                if ended:
                    return running.result()

        return Task(task.name, in_turn)

    async def _run(self, _context: Context) -> None:
        while True:
            try:
                await self.renew()
            except ChatError as error:
                # No back-off: who cannot renew for long has lost, and is to be back as soon as the database is.
                log.warning("leases_not_renewed", code=error.code)
            await asyncio.sleep(self._ttl / 3)

    def _renew(self, connection: Connection, wanted: Collection[str]) -> Mapping[str, int]:
        if connection.dialect.name == "postgresql":
            # A process that is stopped in here must not keep the others waiting for its row locks.
            connection.execute(text(f"SET LOCAL idle_in_transaction_session_timeout = {round(self._ttl * 1000)}"))
        now = _now(connection, self._clock)
        until = now + round(self._ttl * 1000)
        rows = {row.name: row for row in connection.execute(select(lease).where(lease.c.name.in_(wanted)))}
        if missing := [{"name": name} for name in wanted if name not in rows]:
            connection.execute(upsert(connection, lease).on_conflict_do_nothing(), missing)
        live = {name for name, row in rows.items() if row.until >= now}
        mine = sorted(name for name in live if rows[name].holder == self.holder)
        if mine:
            # Only while it has not ended: whoever has taken it since is not disturbed.
            own = (lease.c.name.in_(mine), lease.c.holder == self.holder, lease.c.until >= now)
            connection.execute(update(lease).where(*own).values(until=until))
        if free := sorted(set(wanted) - live):
            taken = connection.execute(
                select(lease.c.name)
                .where(lease.c.name.in_(free), lease.c.until < now)
                .order_by(lease.c.name)
                .with_for_update(skip_locked=True)
            ).scalars()
            values = {"holder": self.holder, "fence": lease.c.fence + 1, "until": until}
            connection.execute(update(lease).where(lease.c.name.in_(list(taken))).values(values))
        held = select(lease).where(lease.c.name.in_(wanted), lease.c.holder == self.holder, lease.c.until >= until)
        return {row.name: row.fence for row in connection.execute(held)}

    def _give_back(self, connection: Connection, names: Collection[str]) -> None:
        own = (lease.c.name.in_(sorted(names)), lease.c.holder == self.holder)
        connection.execute(update(lease).where(*own).values(holder="", until=0))


def holders(connection: Connection, clock: Clock) -> Mapping[str, list[str]]:
    """The names of the leases that are held now, by the name of the node that holds them."""
    held = select(lease.c.name, lease.c.holder).where(lease.c.until >= _now(connection, clock)).order_by(lease.c.name)
    found: dict[str, list[str]] = {}
    for name, holder in connection.execute(held):
        found.setdefault(holder.rpartition("/")[0], []).append(name)
    return found


def _now(connection: Connection, clock: Clock) -> int:
    # Servers on several hosts share the database's clock.
    if connection.dialect.name == "postgresql":
        return int(connection.execute(text("SELECT extract(epoch FROM clock_timestamp()) * 1000")).scalar_one())
    return clock.wall_ms()


class Lease:
    """The lease of one name, as the work under it sees it. Without ``leases``: of a server that is alone with its
    database; it is always held, and costs nothing."""

    def __init__(self, name: str, leases: Leases | None = None) -> None:
        self.name = name
        self._leases = leases

    @property
    def held(self) -> bool:
        """Whether the next step may be taken. Costs no query."""
        return self._leases is None or self._leases.holds(self.name)

    def verify(self, connection: Connection) -> bool:
        """Whether what this transaction changes is changed under the lease."""
        return self._leases is None or self._leases.verify(connection, self.name)

    def task(self, run: Run) -> Task:
        """The background work under this lease, and under its name. When it raises, another server is to try: this one
        gives the lease back, and takes it again only when the work runs again and nobody else has it."""

        leases = self._leases
        if leases is None:
            return Task(self.name, run)

        async def under_lease(context: Context) -> None:
            leases.of(self.name)
            try:
                await run(context)
            except Exception:
                await leases.give_back(self.name)
                raise

        return Task(self.name, under_lease)


async def whole(step: Coroutine[Any, Any, R]) -> R:
    """The result of one step that is not to be torn: who is cancelled in it finishes it first, within `LAST_STEP`
    seconds."""
    task = asyncio.ensure_future(step)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task], timeout=LAST_STEP)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        raise
