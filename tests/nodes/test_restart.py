"""A rolling restart of two nodes under a stream of messages: all clients move, nothing is lost or told twice."""

from __future__ import annotations

import asyncio
import itertools
import signal
from contextlib import AsyncExitStack
from pathlib import Path

import httpx2
from chat_common.client import dev_login

from tests.faults.checker import check
from tests.faults.reckoning import reckon
from tests.faults.recording import Watched
from tests.nodes.cluster import Cluster
from tests.nodes.processes import ProcessNode, ProcessNodes, shared_settings
from tests.nodes.timed import TimedLedger, summary
from tests.services.postgresql import asyncpg_url
from tests.support.waiting import until

PEOPLE = 6


async def restarted(node: ProcessNode, people: list[Watched]) -> None:
    """Stop it in order and start it again; it says that it is not ready while it still takes connections."""
    async with httpx2.AsyncClient(base_url=node.url) as balancer:
        assert (await balancer.get("/readyz")).status_code == 200
        node.send(signal.SIGTERM)

        async def refuses() -> bool:
            return (await balancer.get("/readyz")).status_code == 503

        await until(refuses, what="it says that it stops")
        async with httpx2.AsyncClient(base_url=node.url) as newcomer:
            assert (await newcomer.get("/healthz")).status_code == 200
    await node.ended()
    assert any('"stopped"' in line for line in node.output), "".join(node.output[-20:])
    for person in people:
        await person.client.live()
    await node.start()


async def test_a_rolling_restart_loses_nothing(cluster: Cluster, tmp_path: Path) -> None:
    gateway = {"heartbeat": 5.0, "drain_wait": 2.0}
    settings = shared_settings(asyncpg_url(cluster.store.url), cluster.redis, gateway=gateway)
    nodes, ledger = ProcessNodes(tmp_path, ("a", "b"), settings), TimedLedger()
    a, b = nodes.each.values()
    await nodes.open()
    over = asyncio.Event()

    async def talk(person: Watched, room: str) -> None:
        for number in itertools.count():
            await person.say(room, f"{number} of {person.name}", f"{person.name}-{number}", queued=True)
            if over.is_set():
                return
            await asyncio.sleep(0.05)

    async def heard(more: int) -> None:
        wanted = len(ledger.heard) + more
        await until(lambda: len(ledger.heard) >= wanted, what=f"{more} more messages have reached somebody")

    try:
        await nodes.start()
        nodes.balancer.ports = [a.port]
        async with AsyncExitStack() as stack:
            people: list[Watched] = []
            fresh: dict[str, str] = {}
            for number in range(PEOPLE):
                name = f"p{number}"
                login = await dev_login(nodes.url, name, name)
                fresh[login.user.user] = (await dev_login(nodes.url, name, "fresh")).token
                people.append(Watched(ledger, nodes.url, name, login.user.user, login.token))
                await stack.enter_async_context(people[-1].client)
            began = ledger.now()
            room = (await people[0].client.group("all", [each.user for each in people[1:]])).conversation
            ledger.move(began, [each.user for each in people], room, "in")
            talking = [asyncio.create_task(talk(person, room)) for person in people[:3]]
            nodes.balancer.ports = [a.port, b.port]
            for node in (a, b):
                await heard(100)
                await restarted(node, people)
            await heard(100)
            over.set()
            await asyncio.gather(*talking)
            outcome = await reckon(nodes.url, people, {room: people[0].user}, tokens=fresh.__getitem__)
    finally:
        await nodes.close()
    findings = check(ledger, outcome)
    print(f"{len(ledger.sent)} messages, {len(ledger.lost_lines)} lines lost; {summary(ledger.waits[room])}")
    assert findings == [], findings
    assert len(ledger.lost_lines) >= 2 * PEOPLE, "everybody had to move twice"
    assert max(ledger.waits[room]) < 30.0
