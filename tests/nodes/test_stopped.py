"""N9 and N7: a node is stopped for longer than every lease and goes on; a node is killed and all its clients move."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import psycopg
from attrs import define, field
from chat_common.client import dev_login
from chat_transaction.redis.directory import RedisDirectory
from chat_transaction.settings import RedisDirectorySettings

from tests.faults.checker import check
from tests.faults.reckoning import reckon
from tests.faults.recording import Watched
from tests.nodes.cluster import Cluster
from tests.nodes.processes import ProcessNode, ProcessNodes, shared_settings
from tests.nodes.timed import TimedLedger, summary
from tests.services.postgresql import asyncpg_url
from tests.support.waiting import until

CLIENTS = int(os.environ.get("CHAT_NODES_CLIENTS", "60"))
SHORT = """
from chat_server import nodes
from chat_server.store import leases

nodes.LEASE, leases.LEASE = 2.0, 3.0
"""
"""So that a test need not wait 10 s for leases to end."""


@define
class Two:
    """Two nodes, the people at them, and what both have seen."""

    nodes: ProcessNodes
    stack: AsyncExitStack
    ledger: TimedLedger = field(factory=TimedLedger)
    people: list[Watched] = field(factory=list)
    fresh: dict[str, str] = field(factory=dict)
    room: str = ""

    @property
    def each(self) -> list[ProcessNode]:
        return list(self.nodes.each.values())

    async def person(self, name: str, url: str, at: str = "") -> Watched:
        """Somebody who has logged in, and connects to ``url``."""
        login = await dev_login(at or url, name, name)
        self.fresh[login.user.user] = (await dev_login(at or url, name, "fresh")).token
        self.people.append(Watched(self.ledger, url, name, login.user.user, login.token))
        await self.stack.enter_async_context(self.people[-1].client)
        return self.people[-1]

    async def meet(self) -> None:
        """A group of all."""
        for person in self.people:
            await person.client.settled()
        began, first = self.ledger.now(), self.people[0]
        self.room = (await first.client.group("all", [each.user for each in self.people[1:]])).conversation
        self.ledger.move(began, [each.user for each in self.people], self.room, "in")

    async def say(self, person: Watched, text: str) -> Any:
        return await person.say(self.room, text, f"{person.name} {text}", queued=False)

    async def all_heard(self, text: str) -> None:
        def heard() -> bool:
            return sum(each.message.body == {"text": text} for each in self.ledger.heard) == len(self.people)

        await until(heard, what=f"everybody has heard {text!r}")

    async def judged(self, url: str) -> None:
        """Nothing is lost, doubled, swapped or leaked."""
        outcome = await reckon(url, self.people, {self.room: self.people[0].user}, tokens=self.fresh.__getitem__)
        print(f"{len(self.ledger.sent)} messages; {summary(self.ledger.waits[self.room])}")
        findings = check(self.ledger, outcome)
        assert findings == [], findings


@asynccontextmanager
async def two(cluster: Cluster, folder: Path) -> AsyncIterator[Two]:
    settings = shared_settings(
        asyncpg_url(cluster.store.url), cluster.redis, gateway={"heartbeat": 2.0}, relay={"sql": {"lease": 2.0}}
    )
    nodes = ProcessNodes(folder, ("a", "b"), settings, first=SHORT)
    await nodes.open()
    try:
        await nodes.start()
        async with AsyncExitStack() as stack:
            yield Two(nodes, stack)
    finally:
        await nodes.close()


async def test_what_a_node_does_after_its_leases_have_ended_counts_no_more_and_it_comes_back(
    cluster: Cluster, tmp_path: Path
) -> None:
    directory = RedisDirectory(RedisDirectorySettings(url=cluster.redis))
    async with two(cluster, tmp_path) as it, directory.opened():
        a, b = it.each
        ada, bob = await it.person("ada", a.url), await it.person("bob", b.url)
        await it.meet()
        await it.say(ada, "before")
        await it.all_heard("before")
        with psycopg.connect(cluster.store.url, autocommit=True) as database:

            def leases() -> dict[str, tuple[str, int]]:
                rows = database.execute("SELECT name, holder, fence FROM chat_lease WHERE holder <> ''").fetchall()
                return {name: (holder.partition("/")[0], fence) for name, holder, fence in rows}

            a.send(signal.SIGSTOP)
            try:
                await until(lambda: {holder for holder, _ in leases().values()} == {"b"}, what="b does what a did")

                async def gone() -> bool:
                    return set(await directory.nodes()) == {"b"} and [
                        record.node for record, _ in await directory.gone()
                    ] == ["a"]

                await until(gone, what="a counts as gone")
                for number in range(10):
                    await it.say(bob, f"without a {number}")
                held = leases()
            finally:
                a.send(signal.SIGCONT)

            async def back() -> bool:
                return set(await directory.nodes()) == {"a", "b"} and await directory.gone() == []

            await until(back, what="a is announced again")
            await it.say(ada, "from a")
            await it.all_heard("from a")
            await it.say(bob, "to a")
            await it.all_heard("to a")
            assert leases() == held, "a has taken nothing from b"
        await it.judged(b.url)


async def test_all_clients_of_a_killed_node_come_back_to_the_other(cluster: Cluster, tmp_path: Path) -> None:
    async with two(cluster, tmp_path) as it:
        a, b = it.each
        balancer = it.nodes.balancer
        balancer.ports = [a.port]
        for number in range(CLIENTS):
            await it.person(f"p{number}", it.nodes.url, b.url)
        await it.meet()
        await it.say(it.people[0], "before")
        await it.all_heard("before")
        with psycopg.connect(cluster.store.url, autocommit=True) as database:
            question = "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()"

            def transactions() -> int:
                row = database.execute(question).fetchone()
                assert row is not None
                return int(row[0])

            before, began = transactions(), time.monotonic()
            balancer.ports = [a.port, b.port]
            await a.stop(signal.SIGKILL)
            said = asyncio.gather(*(it.say(person, f"after of {person.name}") for person in it.people[:5]))
            await until(lambda: len(it.ledger.lost_lines) >= CLIENTS, what="all have lost their lines")
            for person in it.people:
                await person.client.live()
            back = time.monotonic() - began
            await said
            for person in it.people[:5]:
                await it.all_heard(f"after of {person.name}")
            spent = transactions() - before
        print(f"{CLIENTS} clients were back after {back:.1f} s; {spent} transactions")
        await it.judged(b.url)
