"""Shards owned by relays: leases with a fencing number, shared evenly among the live relays."""

from __future__ import annotations

import hashlib
import os
import secrets
import socket
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from attrs import frozen
from chat_common.clock import Clock
from chat_common.ports.database import Database
from sqlalchemy import delete, insert, select, text, update

from chat_transaction.sql import registry
from chat_transaction.sql.registry import Capabilities
from chat_transaction.sql.statements import upsert
from chat_transaction.sql.tables import SHARDS, leases, relays


@frozen
class Renewal:
    """What a renewal has found. ``fences``: shard → fencing number of what this relay owns, surely until ``deadline``
    on its own monotonic clock; ``surplus``: those of them that other relays should have, because they have less than
    their share; ``live``: what each live relay runs, this one included."""

    fences: Mapping[int, int]
    surplus: frozenset[int]
    deadline: float
    live: Mapping[str, Capabilities]

    @property
    def open(self) -> dict[int, int]:
        """What is not surplus: the shards of which rows are handed over."""
        return {shard: fence for shard, fence in self.fences.items() if shard not in self.surplus}


class Leases:
    """This relay's leases.

    A lease is renewed every third of its ``ttl`` (seconds). What is held is held for sure until a deadline counted
    from before the renewal on the process's own clock, so that a process that was stopped meanwhile knows it.
    An owner that died on this machine is recognised at once; any other one when its lease ends.
    """

    def __init__(self, database: Database, clock: Clock, ttl: float) -> None:
        self._database = database
        self._clock = clock
        self._ttl = ttl
        self.owner = f"{_machine()}:{os.getpid()}:{_started(os.getpid())}:{secrets.token_hex(4)}"

    async def renew(self, capabilities: Capabilities, releasing: Collection[int] = ()) -> Renewal:
        """Renew what is owned, give back ``releasing``, take what is free up to an even share among
        `registry.eligible`."""
        started = self._clock.monotonic()
        fences, live = await self._database.change(lambda connection: self._renew(connection, capabilities, releasing))
        # Counted from before the transaction; and a tenth is kept back for the drift between two clocks.
        deadline = started + self._ttl * 0.9
        return Renewal(fences, frozenset(sorted(fences)[self._share(live) :]), deadline, live)

    async def give_back(self) -> None:
        """Release everything: the next relay need not wait."""
        await self._database.change(self._give_back)

    def _renew(
        self, connection: Any, capabilities: Capabilities, releasing: Collection[int]
    ) -> tuple[dict[int, int], dict[str, Capabilities]]:
        if connection.dialect.name == "postgresql":
            # A process that is stopped in here must not keep the others waiting for its row locks.
            connection.execute(text(f"SET LOCAL idle_in_transaction_session_timeout = {round(self._ttl * 1000)}"))
        now = self._now(connection)
        until = now + round(self._ttl * 1000)
        mine = leases.c.owner == self.owner
        if releasing:
            connection.execute(
                update(leases).where(mine, leases.c.shard.in_(tuple(releasing))).values(owner=None, until=0)
            )
        row = {"until": until, "capabilities": capabilities.write()}
        if not connection.execute(update(relays).where(relays.c.owner == self.owner).values(row)).rowcount:
            connection.execute(insert(relays).values(owner=self.owner, **row))
        self._bury_the_dead(connection, now)
        connection.execute(update(leases).where(mine).values(until=until))
        fences = {row.shard: row.fence for row in connection.execute(select(leases).where(mine))}
        live = registry.of_live_relays(connection)
        share = self._share(live)
        if len(fences) < share:
            free = [
                row.shard
                for row in connection.execute(
                    select(leases.c.shard)
                    .where(leases.c.until < now)
                    .order_by(leases.c.shard)
                    .limit(share - len(fences))
                    .with_for_update(skip_locked=True)
                )
                if row.shard not in releasing
            ]
            if free:
                taken = leases.c.shard.in_(free)
                connection.execute(
                    update(leases).where(taken).values(owner=self.owner, fence=leases.c.fence + 1, until=until)
                )
                fences.update({row.shard: row.fence for row in connection.execute(select(leases).where(taken))})
        return fences, live

    def _share(self, live: Mapping[str, Capabilities]) -> int:
        owners = registry.eligible(live)
        return -(-SHARDS // len(owners)) if self.owner in owners else 0

    def _bury_the_dead(self, connection: Any, now: int) -> None:
        """Forget relays whose lease is over, and those whose process is gone from this very machine."""
        gone = []
        for row in connection.execute(select(relays)):
            if row.until < now or _is_dead(row.owner):
                gone.append(row.owner)
        if gone:
            connection.execute(delete(relays).where(relays.c.owner.in_(gone)))
            connection.execute(update(leases).where(leases.c.owner.in_(gone)).values(until=0))

    def _give_back(self, connection: Any) -> None:
        connection.execute(update(leases).where(leases.c.owner == self.owner).values(owner=None, until=0))
        connection.execute(delete(relays).where(relays.c.owner == self.owner))

    def _now(self, connection: Any) -> int:
        # Relays on several hosts share the database's clock; the users of one SQLite file share the machine's.
        if connection.dialect.name == "postgresql":
            return int(connection.execute(text("SELECT extract(epoch FROM clock_timestamp()) * 1000")).scalar_one())
        return self._clock.wall_ms()


def ensure_shards(connection: Any) -> None:
    """Make sure that every shard has its lease row."""
    known = set(connection.execute(select(leases.c.shard)).scalars())
    missing = [{"shard": shard} for shard in range(SHARDS) if shard not in known]
    if missing:
        connection.execute(upsert(connection, leases).on_conflict_do_nothing(), missing)


def _machine() -> str:
    """This boot and this process namespace: two processes with the same value can see each other's ids."""
    parts = [socket.gethostname()]
    for path in ("/proc/sys/kernel/random/boot_id", "/proc/self/ns/pid"):
        try:
            parts.append(os.readlink(path) if path.endswith("pid") else Path(path).read_text().strip())
        except OSError:
            parts.append("")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _started(pid: int) -> str:
    """When a process started, so that a reused number is not mistaken for it; empty where that cannot be known."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def _is_dead(owner: str) -> bool:
    machine, pid, started, _ = owner.split(":")
    if machine != _machine() or not started:
        return False
    return _started(int(pid)) != started
