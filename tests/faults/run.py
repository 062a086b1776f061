"""The kill run: people talk, come and go, lines break, and the server is killed at the worst moments."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from attrs import define, field, frozen
from chat_common.client import dev_login
from chat_common.errors import ChatError, Unavailable

from tests.faults.checker import Finding, Windows, check, windows
from tests.faults.ledger import Killed, Ledger
from tests.faults.reckoning import reckon
from tests.faults.recording import Watched
from tests.support.zygote import Zygote

HEARTBEAT = 2.0
CONFIG = """
[gateway]
heartbeat = {heartbeat}

[fanout]
hot_members = {hot_members}
"""


@frozen
class Plan:
    """How big a run is. Times in seconds; a life is one from the server's start to its kill.

    ``kills``: at least so many; while no kill has hit one of the windows yet, up to three times as many.
    ``hot_members``: groups with more members are hot; some are now and then when it is below their size.
    ``config``: more of the server's configuration. ``disturb``: called between two kills, in a thread; may do something
    bad to what the server stands on, and then says what. ``patience``: how long a client may take to become equal to a
    fresh one by itself, once all is quiet. ``late``: what the server's rooms answer one another comes up to so many
    seconds late, which makes rare interleavings common.
    """

    seed: int
    kills: int
    people: int = 20
    groups: int = 6
    directs: int = 4
    life: tuple[float, float] = (0.3, 1.8)
    pause: tuple[float, float] = (0.02, 0.3)
    hot_members: int = 500
    patience: float = 4 * HEARTBEAT
    config: str = ""
    late: float = 0.0
    disturb: Callable[[random.Random], str | None] = lambda dice: None


@define
class Report:
    """What came of it. ``str`` is what a run prints."""

    plan: Plan
    ledger: Ledger
    findings: list[Finding] = field(factory=list)
    disturbed: list[str] = field(factory=list)
    windows: Windows = field(factory=lambda: Windows(0, 0, 0, 0))
    seconds: float = 0.0

    def __str__(self) -> str:
        ledger, hit = self.ledger, self.windows
        late = f", answers up to {self.plan.late} s late" if self.plan.late else ""
        lines = [
            f"seed {self.plan.seed}{late}: {len(ledger.killed)} kills, {len(ledger.lost_lines)} lines lost,"
            f" {self.seconds:.0f} s, {len(self.disturbed)} other faults {self.disturbed}",
            f"sent {len(ledger.sent)}, receipts {len(ledger.promised)}, refused {len(ledger.refused)},"
            f" told {len(ledger.heard)}, pushes {len(ledger.pushed)}, membership changes {len(ledger.moved)}",
            f"windows hit: commit–receipt {hit.commit_receipt}, push–ack {hit.push_ack},"
            f" resumed {hit.resumed}, resume refused {hit.resume_refused}",
            f"gaps that clients closed by history: {len(ledger.repaired)}",
            f"findings: {len(self.findings)}",
            *(f"  {finding.kind}: {finding.text}" for finding in self.findings[:40]),
        ]
        return "\n".join(lines)


@define
class Place:
    """A conversation. ``keeper`` is in it from first to last and may invite and kick."""

    conversation: str
    keeper: Watched
    members: list[Watched]
    group: bool


class KillRun:
    """One run; `go` returns its report."""

    def __init__(self, plan: Plan, folder: Path, *, ledger: Ledger | None = None) -> None:
        self.plan = plan
        self.dice = random.Random(plan.seed)
        self.ledger = ledger or Ledger()
        self.server = self._server(folder)
        self.places: list[Place] = []
        self.people: list[Watched] = []
        self.tokens: dict[str, str] = {}
        self.count = 0
        self.over = False

    def _server(self, folder: Path) -> Any:
        """What is talked to and killed."""
        config = folder / "chat.toml"
        config.write_text(self._config())
        return Zygote(folder / "data", "--config", str(config), late=self.plan.late)

    def _config(self) -> str:
        return CONFIG.format(heartbeat=HEARTBEAT, hot_members=self.plan.hot_members) + self.plan.config

    async def go(self) -> Report:
        began = time.monotonic()
        report = Report(self.plan, self.ledger)
        await self.server.open()
        try:
            await self.server.start()
            async with self._gathered():
                await self._found_places()
                talking = [asyncio.create_task(self._live(person)) for person in self.people]
                await self._kill_again_and_again(talking, report.disturbed)
                self.over = True
                async with asyncio.timeout(120):
                    await asyncio.gather(*talking)
                    await self._ask_again()
                keepers = {place.conversation: place.keeper.user for place in self.places}
                outcome = await reckon(
                    self.server.url, self.people, keepers, tokens=self.tokens.__getitem__, patience=self.plan.patience
                )
        finally:
            await self.server.close()
        report.findings = check(self.ledger, outcome)
        report.windows = windows(self.ledger)
        report.seconds = time.monotonic() - began
        return report

    @asynccontextmanager
    async def _gathered(self) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            for n in range(self.plan.people):
                login = await dev_login(self.server.url, f"person {n}", f"p{n}")
                # A token belongs to its device, and the fresh client that is compared with is another one.
                fresh = await dev_login(self.server.url, f"person {n}", "fresh")
                self.tokens[login.user.user] = fresh.token
                person = Watched(self.ledger, self.server.url, f"p{n}", login.user.user, login.token)
                self.people.append(person)
                await stack.enter_async_context(person.client)
            async with asyncio.timeout(60):
                for person in self.people:
                    await person.client.settled()
            yield

    async def _found_places(self) -> None:
        for n in range(self.plan.groups):
            members = self.dice.sample(self.people, min(8, len(self.people)))
            began = self.ledger.now()
            row = await members[0].client.group(f"group {n}", [other.user for other in members[1:]])
            self.ledger.move(began, [member.user for member in members], row.conversation, "in")
            self.places.append(Place(row.conversation, members[0], members, True))
        for _ in range(self.plan.directs):
            one, other = self.dice.sample(self.people, 2)
            began = self.ledger.now()
            row = await one.client.direct(other.user)
            if all(place.conversation != row.conversation for place in self.places):
                self.ledger.move(began, [one.user, other.user], row.conversation, "in")
                self.places.append(Place(row.conversation, one, [one, other], False))

    # --- the load ---------------------------------------------------------------------------------------------------

    async def _live(self, person: Watched) -> None:
        """Does something now and then, without waiting for its end more than a few things at a time."""
        doing: set[asyncio.Task[None]] = set()
        while not self.over:
            if len(doing) < 6:
                task = asyncio.create_task(self._act(person))
                doing.add(task)
                task.add_done_callback(doing.discard)
            await asyncio.sleep(self.dice.uniform(*self.plan.pause))
        while doing:
            await asyncio.gather(*doing)

    async def _act(self, person: Watched) -> None:
        places = [place for place in self.places if person in place.members]
        if not places:
            return
        place = self.dice.choice(places)
        chance = self.dice.random()
        if chance < 0.02:
            person.tap.cut()
        elif chance < 0.12:
            await self._change(person, place)
        elif chance < 0.20 and place.group:
            await self._come_or_go(person, place)
        else:
            self.count += 1
            ref = f"{self.plan.seed}-{person.name}-{self.count}"
            await person.say(
                place.conversation, f"{self.count} of {person.name}", ref, queued=int(person.name[1:]) % 2 == 0
            )

    async def _change(self, person: Watched, place: Place) -> None:
        room = person.client.state.rooms.get(place.conversation)
        mine = [m.seq for m in room.messages.values() if m.sender == person.user] if room is not None else []
        seq = self.dice.choice(mine) if mine else 1
        what = self.dice.choice(["message.edit", "message.recall", "message.react", "read"])
        params: dict[str, object] = {"conversation": place.conversation, "seq": seq}
        if what == "message.edit":
            params["body"] = {"text": f"edited {self.count}"}
        if what == "message.react":
            params |= {"emoji": self.dice.choice("👍🎉"), "on": self.dice.random() < 0.7}
        await self._try(person, what, params)

    async def _come_or_go(self, person: Watched, place: Place) -> None:
        keeper = place.keeper
        outside = [other for other in self.people if other not in place.members]
        if person is not keeper and self.dice.random() < 0.3:
            place.members.remove(person)
            await person.move("group.leave", place.conversation, [person.user], "out")
        elif outside and self.dice.random() < 0.6:
            others = self.dice.sample(outside, min(2, len(outside)))
            await keeper.move("group.invite", place.conversation, [other.user for other in others], "in")
            place.members.extend(other for other in others if other not in place.members)
        elif len(place.members) > 3:
            other = self.dice.choice([member for member in place.members if member is not keeper])
            place.members.remove(other)
            await keeper.move("group.kick", place.conversation, [other.user], "out")

    async def _try(self, person: Watched, command: str, params: dict[str, object]) -> None:
        try:
            await person.client.call(command, params)
        except Unavailable:
            raise
        except ChatError:
            pass  # gone meanwhile, or not mine: an answer as good as any

    async def _ask_again(self) -> None:
        """A retry of a ref, long after, gets the receipt that was given."""
        for promise in self.dice.sample(self.ledger.promised, min(50, len(self.ledger.promised))):
            person = next(each for each in self.people if each.user == promise.user)
            sent = self.ledger.sent[promise.user, promise.ref]
            await person.say(sent.conversation, sent.text, sent.ref, queued=False)

    # --- the killer -------------------------------------------------------------------------------------------------

    async def _kill_again_and_again(self, talking: list[asyncio.Task[None]], disturbed: list[str]) -> None:
        for number in range(3 * self.plan.kills):
            if number >= self.plan.kills and windows(self.ledger).all_hit:
                break
            await asyncio.sleep(self.dice.uniform(*self.plan.life))
            await self._wait_for_a_moment()
            for task in talking:
                if task.done():
                    task.result()
            await self.server.stop(signal.SIGKILL)
            self.ledger.killed.append(Killed(self.ledger.now(), time.time_ns() // 1_000_000))
            if happened := await asyncio.to_thread(self.plan.disturb, self.dice):
                disturbed.append(happened)
            await self.server.start()
            async with asyncio.timeout(60):
                for person in self.people:
                    await person.client.live()

    async def _wait_for_a_moment(self) -> None:
        """Half of the kills aim: right after somebody has sent something, a commit or a receipt is under way."""
        if self.dice.random() < 0.5:
            sent = len(self.ledger.sent)
            async with asyncio.timeout(10):
                while len(self.ledger.sent) == sent:  # noqa: ASYNC110 - the ledger is no event
                    await asyncio.sleep(0)
            await asyncio.sleep(self.dice.uniform(0.0, 0.012))
