"""Streams in a world of losses, failures and delays: the invariant holds, and each planted defect is found.

``MODEL_STEPS`` and ``MODEL_SEED`` (environment) make the run longer, or another one: see `nox -s model`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
import structlog
from chat_common.errors import ChatError
from chat_server.gateway.stream import Entry, Stream, is_open
from chat_server.gateway.streams import Streams
from chat_server.services import Arrival, Delivery, Membership

from tests.chat_server.gateway.stream_model import Node, Pause, World, Wrong

STEPS = int(os.environ.get("MODEL_STEPS", "100000"))
SEED = int(os.environ.get("MODEL_SEED", "0"))
LIFE = 500
"""Steps of one world."""
SEARCH = 400_000
"""Steps in which a defect must have been found."""


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Failing reads are part of it."""
    silent = structlog.make_filtering_bound_logger(50)
    monkeypatch.setattr("chat_server.gateway.streams.log", structlog.wrap_logger(None, wrapper_class=silent))


def live(steps: int, seed: int, node: type[Node] = Node) -> int:
    """Run world after world; returns how many steps that were. A broken invariant is raised with its seed."""
    done = 0
    while done < steps:
        world = World(seed, node)
        try:
            world.run(LIFE)
        except Wrong as error:
            raise AssertionError(f"seed {seed}, step {world.steps}: {error}") from error
        finally:
            world.close()
        done += world.steps
        seed += 1
    return done


def test_nothing_is_lost_doubled_or_shown_to_who_may_not_see_it() -> None:
    assert live(STEPS, SEED) >= STEPS


# --- planted defects ------------------------------------------------------------------------------------------------


class HelloInTwoTransactions(Node):
    """The spans are read, and a little later the rev that they are taken for."""

    async def arrival(self, user: str) -> Arrival:
        first = await super().arrival(user)
        await Pause()
        later = self.world.truth.rev
        rooms = {room: Membership(later, one.spans) for room, one in first.rooms.items()}
        return Arrival(first.epoch, first.version, rooms)


class HelloReadsBeforeItIsAnnounced(Node):
    async def hello(self, client: Any, session: Any) -> None:
        try:
            early = await Node.arrival(self, session.user)
        except ChatError:
            self.world.end(session)
            return
        await Pause()

        async def read(user: str) -> Arrival:
            return early

        self.arrival = read  # type: ignore[method-assign]
        await super().hello(client, session)


async def position_moves_on_a_failed_read(self: Streams, conversation: str, stream: Stream) -> None:
    try:
        while await self._step(conversation, stream):
            pass
    except ChatError:
        stream.position = max(stream.position, stream.target, *(unit[-1].last for unit in stream.waiting or ()))
        stream.waiting = None
    finally:
        stream.reading = False


def enter_without_a_floor(self: Stream, user: str, spans: Any, rev: int, floor: int) -> None:
    assert self.known is not None
    self.known[user] = Entry(spans, rev, 0)
    self.newest_from = max(self.newest_from, spans[-1][0])
    self.audience = None


def nobody_passes(self: Streams, conversation: str, pushes: Any, position: int) -> None:
    """Memberships that pass an arriving user are not noted."""


def nothing_ahead(self: Stream, fresh: Any, online: Any) -> dict[str, Any]:
    """Spans are asked before the batch's own memberships are taken in."""
    return {}


def nothing_later(self: Stream, later: Any, online: Any) -> None:
    """What the log tells of later memberships is not kept."""


def forgets_its_position(self: Streams, conversation: str, stream: Stream, unit: Sequence[Delivery]) -> None:
    HAND_ON(self, conversation, stream, unit)
    if stream.known is None:
        stream.position = 0


def forgets_newer_accounts(self: Stream, rev: int) -> None:
    COOL(self, rev)
    self.newer = {}


def tells_nobody(self: Stream, rev: int, found: Mapping[str, Membership], hot_at: int) -> set[str]:
    """After a gap too wide nobody is told to sync."""
    COMPLETE(self, rev, found, hot_at)
    return set()


def sees_no_heat(self: Streams, conversation: str, rev: int, hot_at: int) -> None:
    """The check asks for the conversations that it knows, and for no others."""


def keeps_who_has_left(spans: Any) -> bool:
    return bool(spans)


COOL, COMPLETE, HAND_ON = Stream.cool, Stream.complete, Streams._hand_on
Plant = Callable[[pytest.MonkeyPatch], Any]


def replacing(owner: Any, name: str, by: Any) -> Plant:
    return lambda patch: patch.setattr(owner, name, by)


PLANTED: dict[str, Plant | type[Node]] = {
    "the hello read in two transactions": HelloInTwoTransactions,
    "the hello read before it is announced": HelloReadsBeforeItIsAnnounced,
    "the position moved on a failed read": replacing(Streams, "_reader", position_moves_on_a_failed_read),
    "a floor left out": replacing(Stream, "enter", enter_without_a_floor),
    "memberships that pass an arriving user not noted": replacing(Streams, "_note", nobody_passes),
    "spans asked before the batch's members": replacing(Stream, "_ahead", nothing_ahead),
    "later memberships of the log forgotten": replacing(Stream, "_hear", nothing_later),
    "the position forgotten while it is normal": replacing(Streams, "_hand_on", forgets_its_position),
    "newer accounts forgotten when it cools": replacing(Stream, "cool", forgets_newer_accounts),
    "nobody told after a gap too wide": replacing(Stream, "complete", tells_nobody),
    "the check blind to what has turned hot": replacing(Streams, "is_hot", sees_no_heat),
    "who has left kept": lambda patch: patch.setattr("chat_server.gateway.stream.is_open", keeps_who_has_left),
}


@pytest.mark.parametrize("defect", PLANTED)
def test_a_planted_defect_is_found(defect: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plant = PLANTED[defect]
    node: type[Node] = Node
    if isinstance(plant, type):
        node = plant
    else:
        plant(monkeypatch)
    with pytest.raises(AssertionError, match="seed"):
        live(SEARCH, 0, node)


def test_the_truth_tells_spans_as_the_store_does() -> None:
    world = World(0)
    truth = world.truth
    truth.change(["u0"])
    truth.say()
    truth.change(["u0"])
    truth.say()
    truth.change(["u0"])
    assert truth.spans("u0") == [[1, 1], [3]]
    assert is_open(truth.spans("u0"))
    assert [push.rev for push in truth.page(0, 9).pushes] == [2, 4, 5], "the log holds the newest state of a row alone"
