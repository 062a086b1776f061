"""The page on a bad line: cut fifty times while both type, its screens end up equal to the log."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from tests.e2e.person import Person
from tests.e2e.server import Server
from tests.faults_proxy import FaultsProxy

CUTS = 50
HEARTBEAT = 2


async def live(proxy: FaultsProxy, person: Person, before: int) -> None:
    """Until a connection that was made after the cut is through."""
    async with asyncio.timeout(60):
        await proxy.arrival(before)
    await expect(person.page.locator(".banner")).to_be_hidden(timeout=60_000)


async def eventually_equal(look: Callable[[], Awaitable[object]], wanted: object, seconds: int = 60) -> None:
    """Looks until it is so; the last look is the error."""
    for _ in range(seconds):
        seen = await look()
        if seen == wanted:
            return
        await asyncio.sleep(1)
    assert seen == wanted


async def cut(proxy: FaultsProxy, person: Person, how: str) -> None:
    before = proxy.accepted
    if how == "reset":
        proxy.reset()
    elif how == "down":
        await proxy.down()
        await asyncio.sleep(0.7)
        await proxy.up()
    else:  # a black hole: nothing is refused and nothing comes; only the client's own watch can find it
        proxy.swallow()
    await live(proxy, person, before)


@pytest.fixture
async def beating(tmp_path: Path) -> AsyncIterator[Server]:
    """A server whose silence is noticed soon."""
    server = Server(tmp_path / "data", env={"CHAT__GATEWAY__HEARTBEAT": str(HEARTBEAT)})
    await server.start()
    yield server
    await server.stop()


async def test_cut_fifty_times_while_both_type(browser: Browser, beating: Server) -> None:
    seed = random.randrange(1 << 32)
    dice = random.Random(seed)
    print(f"seed {seed}")
    lines = [FaultsProxy(("127.0.0.1", beating.port)) for _ in range(2)]
    async with lines[0], lines[1]:
        people = [
            await (await Person.arrive(browser, f"http://127.0.0.1:{line.port}/", name)).log_in()
            for line, name in zip(lines, ("Ada", "Bob"), strict=True)
        ]
        ada, bob = people
        await ada.find("Bob")
        await ada.say("first")
        await bob.open("Ada")
        done = asyncio.Event()
        said: dict[str, list[str]] = {person.name: [] for person in people}
        said["Ada"].append("first")

        async def type_on(person: Person) -> None:
            n = 0
            while not done.is_set():
                n += 1
                said[person.name].append(f"{person.name} {n}")
                await person.say(said[person.name][-1])
                await asyncio.sleep(dice.uniform(0.05, 0.6))

        typing = [asyncio.create_task(type_on(person)) for person in people]
        kinds: Counter[str] = Counter()
        for number in range(CUTS):
            which = dice.randrange(2)
            how = dice.choice(["reset", "reset", "down", "black hole"])
            kinds[how] += 1
            lines[which].latency = dice.choice([0, 0, 0.05, 0.3])
            lines[which].rate = dice.choice([None, None, 20_000])
            await cut(lines[which], people[which], how)
            if number % 10 == 0:
                await asyncio.sleep(dice.uniform(0, 2))
        done.set()
        await asyncio.gather(*typing)
        for line in lines:
            line.latency, line.rate = 0, None
        print(dict(kinds), {name: len(texts) for name, texts in said.items()})
        assert len(kinds) == 3
        for person in people:
            await expect(person.page.locator(".state .icon-clock, .failure")).to_have_count(0, timeout=60_000)
        log = await ada.log()
        assert [seq for seq, _, _ in log] == list(range(1, len(log) + 1))
        assert len(log) == sum(len(texts) for texts in said.values())
        for name, texts in said.items():
            mine = [text for _, text, _ in log if text in set(texts)]
            assert mine == texts, f"{name}: each once, in the order typed"
        for person in people:
            await eventually_equal(person.screen, {seq: text for seq, text, _ in log})
            assert person.problems == []
