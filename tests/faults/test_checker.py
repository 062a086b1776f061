"""The checker is checked: every planted defect is found, and a run without one is clean."""

from __future__ import annotations

import asyncio
import copy
import random
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

import attrs
import pytest
from chat_common.protocol.frames import Push

from tests.faults.checker import check, membership, windows
from tests.faults.ledger import Heard, Killed, Ledger, Moved, Outcome
from tests.faults.reckoning import reckon
from tests.faults.recording import Watched
from tests.support.reference_server import ReferenceRoom, ReferenceServer, ReferenceSession, plain
from tests.support.reference_web import ReferenceWeb, served

USERS = ["ann", "bob", "eve"]


async def run(
    server: ReferenceServer, *, seed: int = 1, spoil: Callable[[Watched], None] | None = None
) -> tuple[Ledger, Outcome]:
    """Three people and two groups; lines are cut, the server forgets its sessions, eve comes and goes."""
    dice, ledger = random.Random(seed), Ledger()
    async with served(server) as web, AsyncExitStack() as stack:
        watched = [Watched(ledger, web.url, f"{user}-1", user, user) for user in USERS]
        for each in watched:
            await stack.enter_async_context(each.client)
            await each.client.settled()
        ann, bob = watched[:2]
        groups = []
        for _ in range(2):
            began = ledger.now()
            groups.append((await ann.client.group("g", ["bob", "eve"])).conversation)
            ledger.move(began, USERS, groups[-1], "in")
        for step in range(24):
            say = [
                each.say(dice.choice(groups), f"{step} {each.user}", f"{each.user}-{step}", queued=dice.random() < 0.5)
                for each in dice.sample(watched, 2)
            ]
            await asyncio.gather(*say)
            await web.flush()
            if spoil is not None and step == 12:
                spoil(bob)
            match step % 8:
                case 1:
                    await ann.move("group.kick", groups[0], ["eve"], "out")
                case 3:
                    dice.choice(watched).tap.cut()
                case 5:
                    await ann.move("group.invite", groups[0], ["eve"], "in")
                case 7:
                    await lose_all(web, ledger)
        return ledger, await reckon(web.url, watched, dict.fromkeys(groups, "ann"), tokens=str, patience=0.5)


async def lose_all(web: ReferenceWeb, ledger: Ledger) -> None:
    ledger.killed.append(Killed(ledger.now(), web.server.time))
    web.server.restart()
    await web.cut()


def kinds(ledger: Ledger, outcome: Outcome) -> set[str]:
    return {finding.kind for finding in check(ledger, outcome)}


@pytest.mark.parametrize("seed", range(3))
async def test_a_run_without_defects_is_clean_and_hits_its_windows(seed: int) -> None:
    ledger, outcome = await run(ReferenceServer(seed=seed, drop=0.1), seed=seed)
    assert check(ledger, outcome) == []
    assert len(ledger.sent) == 48
    hit = windows(ledger)
    assert hit.resumed > 0
    assert hit.resume_refused > 0


# --- defects of a server --------------------------------------------------------------------------------------------


class Dropping(ReferenceServer):
    """bob never gets what stands under 5, not even by sync or by history."""

    def deliver(self, room: ReferenceRoom, event: str, data: dict[str, Any], told: list[str] | None = None) -> None:
        hide = event == "message" and data["seq"] == 5
        for session in self.sessions.values():
            if session.user == "bob" and hide:
                session.user = "nobody"
        super().deliver(room, event, data, told)
        for session in self.sessions.values():
            session.user = "bob" if session.user == "nobody" else session.user

    def sync_room(self, user: str, params: dict[str, Any]) -> dict[str, Any]:
        page = super().sync_room(user, params)
        if user == "bob":
            page["messages"] = [row for row in page["messages"] if row["seq"] != 5]
        return page

    def history(self, user: str, params: dict[str, Any]) -> dict[str, Any]:
        page = super().history(user, params)
        if user == "bob":
            page["messages"] = [row for row in page["messages"] if row["seq"] != 5]
        return page


class Stamping(ReferenceServer):
    """Pushes bob the bare stamp of what stands under 5, as if he might not see it."""

    def deliver(self, room: ReferenceRoom, event: str, data: dict[str, Any], told: list[str] | None = None) -> None:
        super().deliver(room, event, data, told)
        if event != "message" or data["seq"] != 5:
            return
        stamp = Push("members", {"conversation": room.name, "rev": data["rev"], "members": []})
        for session in self.sessions.values():
            if session.user == "bob" and session.window and session.window[-1].data == plain(data):
                session.window[-1] = stamp
                if session.connection is not None:
                    session.connection.out[-1] = stamp


class Doubling(ReferenceServer):
    """Every third message is stored twice."""

    def submit(self, user: str, ref: str, params: dict[str, Any]) -> dict[str, Any]:
        receipt = super().submit(user, ref, params)
        return super().submit(user, ref, params) if receipt["seq"] % 3 == 0 else receipt


class Swapping(ReferenceServer):
    """Numbers what ann says third before what she said second."""

    def submit(self, user: str, ref: str, params: dict[str, Any]) -> dict[str, Any]:
        receipt = super().submit(user, ref, params)
        own = [row for row in self.rooms[params["conversation"]].rows if row["sender"] == "ann"]
        if user == "ann" and len(own) == 3:
            for name in ("ref", "body"):
                own[1][name], own[2][name] = own[2][name], own[1][name]
        return receipt


class Promising(ReferenceServer):
    """Gives a receipt before it stores, and forgets at a restart what it had not stored."""

    def restart(self) -> None:
        super().restart()
        for room in self.rooms.values():
            if room.rows:
                lost = room.rows.pop()
                self.replies.pop((lost["sender"], lost["ref"]), None)


class Repeating(ReferenceServer):
    """Writes some pushes twice to one stream."""

    def deliver(self, room: ReferenceRoom, event: str, data: dict[str, Any], told: list[str] | None = None) -> None:
        super().deliver(room, event, data, told)
        for session in self.sessions.values():
            if session.connection and data["rev"] % 4 == 0 and session.connection.out:
                last = session.connection.out[-1]
                if isinstance(last, Push) and last.data.get("rev") == data["rev"]:
                    session.push(last)


class Leaking(ReferenceServer):
    """Who was kicked goes on hearing."""

    def _heard_by(self, room: ReferenceRoom) -> list[ReferenceSession]:
        return [s for s in self.sessions.values() if s.user in room.members and s.user not in room.current()]

    def deliver(self, room: ReferenceRoom, event: str, data: dict[str, Any], told: list[str] | None = None) -> None:
        super().deliver(room, event, data, told)
        for session in self._heard_by(room):
            if event == "message":
                session.push(Push("message", {**data, "since": 0}))


@pytest.mark.parametrize(
    ("server", "kind"),
    [
        (Dropping, "lost"),
        (Stamping, "gap"),
        (Doubling, "doubled"),
        (Swapping, "order"),
        (Promising, "receipt"),
        (Repeating, "stream"),
        (Leaking, "leak"),
    ],
)
async def test_a_server_with_this_defect_is_found_out(server: type[ReferenceServer], kind: str) -> None:
    assert kind in kinds(*await run(server()))


async def test_a_client_that_acknowledges_too_much_is_found_out() -> None:
    def spoil(watched: Watched) -> None:
        watched.client.session.received += 1
        watched.client.session._ack()
        watched.client.note("typing", {})  # makes it write

    assert {"ack", "complaint"} <= kinds(*await run(ReferenceServer(), spoil=spoil))


# --- defects of a recording -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def recorded() -> tuple[Ledger, Outcome]:
    return asyncio.run(run(ReferenceServer()))


def heard_by_eve(ledger: Ledger) -> list[int]:
    return [n for n, entry in enumerate(ledger.heard) if entry.client == "eve-1"]


def drop(ledger: Ledger, outcome: Outcome) -> None:
    del ledger.heard[heard_by_eve(ledger)[2]]


def double(ledger: Ledger, outcome: Outcome) -> None:
    ledger.heard.append(ledger.heard[heard_by_eve(ledger)[-1]])


def swap(ledger: Ledger, outcome: Outcome) -> None:
    mine = heard_by_eve(ledger)
    one = mine[0]
    where = ledger.heard[one].message.conversation
    other = next(n for n in mine[1:] if ledger.heard[n].message.conversation == where)
    ledger.heard[one], ledger.heard[other] = ledger.heard[other], ledger.heard[one]


def renumber(ledger: Ledger, outcome: Outcome) -> None:
    ledger.promised[3] = attrs.evolve(ledger.promised[3], seq=ledger.promised[3].seq + 1)


def change_on_retry(ledger: Ledger, outcome: Outcome) -> None:
    ledger.promised.append(attrs.evolve(ledger.promised[3], time=1))


def forget_answer(ledger: Ledger, outcome: Outcome) -> None:
    ledger.send("ann", "unanswered", ledger.promised[0].conversation, "x")


def keep_refused(ledger: Ledger, outcome: Outcome) -> None:
    ledger.refuse("ann", ledger.promised[0].ref, "not_found", final=True)
    ledger.refuse(ledger.promised[0].user, ledger.promised[0].ref, "not_found", final=True)


def invent(ledger: Ledger, outcome: Outcome) -> None:
    del ledger.sent[ledger.promised[0].user, ledger.promised[0].ref]


def garble(ledger: Ledger, outcome: Outcome) -> None:
    key = (ledger.promised[0].user, ledger.promised[0].ref)
    ledger.sent[key] = attrs.evolve(ledger.sent[key], text="something else")


def hole(ledger: Ledger, outcome: Outcome) -> None:
    del next(iter(outcome.rooms.values())).messages[2]


def leak(ledger: Ledger, outcome: Outcome) -> None:
    room = next(iter(outcome.rooms.values()))
    unseen = next(seq for seq in room.messages if not room.sees("eve", seq))
    ledger.heard.append(Heard(ledger.now(), "eve-1", room.messages[unseen]))


def widen_span(ledger: Ledger, outcome: Outcome) -> None:
    next(iter(outcome.rooms.values())).members["eve"].spans[:] = [[1]]


def narrow_span(ledger: Ledger, outcome: Outcome) -> None:
    next(iter(outcome.rooms.values())).members["bob"].spans[:] = [[2]]


def second_copy(ledger: Ledger, outcome: Outcome) -> None:
    ledger.pushed.append(ledger.pushed[-1])


def ack_beyond(ledger: Ledger, outcome: Outcome) -> None:
    last = ledger.acked[-1]
    ledger.acked.append(attrs.evolve(last, received=last.counted + 1))


def ack_back(ledger: Ledger, outcome: Outcome) -> None:
    last = max(ledger.acked, key=lambda ack: ack.received)
    ledger.acked.append(attrs.evolve(last, received=0))


def forget_state(ledger: Ledger, outcome: Outcome) -> None:
    picture: Any = outcome.pictures["bob-1"]
    next(iter(picture["rooms"].values()))["messages"].pop()


@pytest.mark.parametrize(
    ("plant", "kind"),
    [
        (drop, "lost"),
        (double, "doubled"),
        (swap, "order"),
        (renumber, "receipt"),
        (change_on_retry, "receipt"),
        (forget_answer, "receipt"),
        (keep_refused, "ghost"),
        (invent, "ghost"),
        (garble, "receipt"),
        (hole, "lost"),
        (leak, "leak"),
        (widen_span, "leak"),
        (narrow_span, "lost"),
        (second_copy, "stream"),
        (ack_beyond, "ack"),
        (ack_back, "ack"),
        (forget_state, "state"),
    ],
)
def test_a_recording_with_this_defect_is_found_out(
    recorded: tuple[Ledger, Outcome], plant: Callable[[Ledger, Outcome], None], kind: str
) -> None:
    ledger, outcome = copy.deepcopy(recorded)
    assert kinds(ledger, outcome) == set()
    plant(ledger, outcome)
    assert kind in kinds(ledger, outcome)


@pytest.mark.parametrize(
    ("moves", "began", "ended", "expected"),
    [
        ([], 5, 6, False),
        ([(1, 2, "in")], 5, 6, True),
        ([(1, 2, "in"), (3, 4, "out")], 5, 6, False),
        ([(1, 2, "in"), (5, 8, "out")], 6, 7, None),
        ([(1, 4, "in"), (2, 3, "out")], 5, 6, None),
        ([(1, 2, "in"), (7, 8, "out")], 5, 6, True),
    ],
)
def test_membership_is_known_only_where_the_replies_make_it_certain(
    moves: list[tuple[int, int, Any]], began: int, ended: int, expected: bool | None
) -> None:
    assert membership([Moved(a, b, "u", "c", how) for a, b, how in moves], began, ended) is expected
