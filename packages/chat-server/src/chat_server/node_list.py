"""``admin.nodes``: which servers there are, how each is, and what each does for all of them.

Who there is, is what the directory says; who holds a lease, what the database says. Neither needs a server in the
process that asks, so `chat-server nodes` asks the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from attrs import define
from chat_common.assembly import Assembly
from chat_common.clock import Clock
from chat_common.ports.database import Database
from chat_common.ports.directory import Directory, NodeRecord
from chat_common.ports.outbox import DeadLetters
from chat_common.records import Caller, Command
from msgspec import UNSET, UnsetType

from chat_server.contributions import RoomContributions
from chat_server.store.leases import holders


@define(kw_only=True)
class ListNodes:
    """Without parameters."""


@define(kw_only=True)
class NodeShown:
    """One server. ``state``: ``runs``, ``stops`` (it sends its clients away) or ``gone`` (its record has ended without
    a word of it). ``started``, ``gone_at``: ms since 1970. ``load``: ``connections``, ``sessions``, ``users``,
    ``calls``, and ``outbox_in_flight``, the rows of the outbox that it is carrying at this moment; as of its last word,
    some seconds ago. ``leases``: what it does for all. ``here``: it is the one that answers."""

    node: str
    state: str
    started: int
    address: str
    release: str
    roles: list[str]
    load: dict[str, int]
    leases: list[str]
    here: bool
    gone_at: int | UnsetType = UNSET


@define(kw_only=True)
class NodesShown:
    """``outbox_owed``: rows of the outbox that are committed and not carried out by all. ``alone``: the directory is
    inside one process, which knows of no other."""

    nodes: list[NodeShown]
    outbox_owed: int
    alone: bool


class NodeList:
    """``own``: the record of the server in this process, where there is one. ``alone``: see `NodesShown`."""

    def __init__(
        self,
        directory: Directory,
        database: Database,
        outbox: DeadLetters,
        clock: Clock,
        *,
        alone: bool,
        own: Callable[[], NodeRecord] | None = None,
    ) -> None:
        self._directory = directory
        self._database = database
        self._outbox = outbox
        self._clock = clock
        self._alone = alone
        self._own = own

    @classmethod
    async def of(cls, assembly: Assembly, alone: bool, own: Callable[[], NodeRecord] | None = None) -> NodeList:
        """With the directory, the database and the outbox that the settings name."""
        return cls(
            await assembly.get(Directory),  # type: ignore[type-abstract]
            await assembly.get(Database),  # type: ignore[type-abstract]
            await assembly.get(DeadLetters),  # type: ignore[type-abstract]
            assembly.clock,
            alone=alone,
            own=own,
        )

    def contributions(self) -> RoomContributions:
        """Its command, for admins."""

        async def handler(caller: Caller, request: ListNodes) -> NodesShown:
            return await self.show()

        summary = "Which servers there are, and how each is."
        command = Command(
            "admin.nodes", ListNodes, NodesShown, handler, "reads", callers="admins", summary=summary, cost=5
        )
        return RoomContributions(room="nodes", commands=[command])

    async def show(self) -> NodesShown:
        """All of them, by name; those that are gone for as long as the directory remembers them."""
        own = self._own() if self._own is not None else None
        there = dict(await self._directory.nodes())
        if own is not None:
            there[own.node] = own
        gone = {record.node: (record, since) for record, since in await self._directory.gone()}
        held = await self._database.read(lambda connection: holders(connection, self._clock))
        shown = [
            self._shown(record, "stops" if record.stopping else "runs", held, record is own)
            for record in there.values()
        ]
        now = self._clock.wall_ms()
        for name, (record, since) in gone.items():
            if name not in there:
                one = self._shown(record, "gone", held, False)
                one.gone_at = now - round(since * 1000)
                shown.append(one)
        status = await self._outbox.status()
        return NodesShown(
            nodes=sorted(shown, key=lambda each: each.node), outbox_owed=sum(status.depth.values()), alone=self._alone
        )

    @staticmethod
    def _shown(record: NodeRecord, state: str, held: Mapping[str, list[str]], here: bool) -> NodeShown:
        return NodeShown(
            node=record.node,
            state=state,
            started=record.started,
            address=record.address,
            release=record.release,
            roles=sorted(record.roles),
            load=dict(record.load),
            leases=held.get(record.node, []),
            here=here,
        )
