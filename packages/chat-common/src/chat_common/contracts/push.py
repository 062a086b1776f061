"""What every `PushProvider` must hold: run each of the checks with a stage of its platform.

::

    @pytest.mark.parametrize("check", push_checks(), ids=lambda check: check.__name__)
    async def test_contract(check):
        await check(MyStage(...))

A check passes or raises `AssertionError`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from chat_common.ports.push import Address, Notification, Outcome, PushProvider, Result


class PushStage(Protocol):
    """A provider with a stand-in of its platform behind it."""

    @property
    def provider(self) -> PushProvider:
        """The provider under test."""
        ...

    def address(self, device: str, result: Result = Result.DELIVERED, retry_after: float | None = None) -> Address:
        """Return a new address; the platform answers what is sent there in the way of ``result`` from now on."""
        ...

    def broken(self, device: str) -> Address:
        """Return an address that no client of this platform would have made: what a stranger may subscribe with."""
        ...

    def told(self, device: str) -> Sequence[tuple[str, str, str, int]]:
        """Return what has arrived at a device: (title, text, conversation, seq), the oldest first."""
        ...


PushCheck = Callable[[PushStage], Awaitable[None]]


def push_checks() -> Sequence[PushCheck]:
    """Return all checks, in no order that matters."""
    return [
        what_is_sent_arrives,
        nobody_is_asked_for_nothing,
        outcomes_come_in_the_order_of_the_addresses,
        a_dead_address_is_gone,
        later_says_when,
        a_broken_address_loses_no_neighbour,
        a_good_address_may_subscribe,
        a_batch_is_told_whole,
        long_text_arrives_cut,
    ]


def note(text: str = "Shall we?", *, seq: int = 7) -> Notification:
    """Return a notification of a conversation, with characters that need escaping."""
    return Notification("u1", "c1", seq, 'Ada & "Bob" 你好', text, "c1")


def _expect(outcomes: Sequence[Outcome], *wanted: Result) -> None:
    found = [outcome.result for outcome in outcomes]
    assert found == list(wanted), f"expected {[each.value for each in wanted]}, and it answered {list(outcomes)}"


async def what_is_sent_arrives(stage: PushStage) -> None:
    """Title, text, conversation and seq arrive as they are."""
    _expect(await stage.provider.send(note("<b>嗨</b> 🎉"), [stage.address("d1")]), Result.DELIVERED)
    assert list(stage.told("d1")) == [('Ada & "Bob" 你好', "<b>嗨</b> 🎉", "c1", 7)]


async def nobody_is_asked_for_nothing(stage: PushStage) -> None:
    """No addresses, no outcomes."""
    assert list(await stage.provider.send(note(), [])) == []


async def outcomes_come_in_the_order_of_the_addresses(stage: PushStage) -> None:
    """Each outcome is that of the address in its place."""
    wanted = [Result.DELIVERED, Result.GONE, Result.LATER, Result.REFUSED, Result.DELIVERED]
    addresses = [stage.address(f"d{place}", result) for place, result in enumerate(wanted)]
    _expect(await stage.provider.send(note(), addresses), *wanted)
    assert [len(stage.told(f"d{place}")) for place in range(5)] == [1, 0, 0, 0, 1]


async def a_dead_address_is_gone(stage: PushStage) -> None:
    """The platform no longer knows it: `Result.GONE`, so that it is dropped."""
    _expect(await stage.provider.send(note(), [stage.address("d1", Result.GONE)]), Result.GONE)


async def later_says_when(stage: PushStage) -> None:
    """What the platform says of when to come again is handed on, in seconds."""
    outcomes = await stage.provider.send(note(), [stage.address("d1", Result.LATER, 120.0)])
    _expect(outcomes, Result.LATER)
    assert outcomes[0].retry_after == 120.0, f"120 seconds were said, {outcomes[0].retry_after} handed on"


async def a_broken_address_loses_no_neighbour(stage: PushStage) -> None:
    """What a stranger wrote as an address is gone or refused, and those around it are told."""
    addresses = [stage.address("d1"), stage.broken("d2"), stage.address("d3")]
    outcomes = await stage.provider.send(note(), addresses)
    dead = Result.GONE if outcomes[1].result is Result.GONE else Result.REFUSED
    _expect(outcomes, Result.DELIVERED, dead, Result.DELIVERED)
    assert [len(stage.told(device)) for device in ("d1", "d3")] == [1, 1]


async def a_good_address_may_subscribe(stage: PushStage) -> None:
    """What a client of the platform subscribes with is let in, and what clients are told of the provider is text."""
    stage.provider.check(stage.address("d1").values)
    assert all(isinstance(word, str) for pair in stage.provider.public().items() for word in pair)


async def a_batch_is_told_whole(stage: PushStage) -> None:
    """A hundred addresses at once: all are told, once."""
    addresses = [stage.address(f"d{place}") for place in range(100)]
    _expect(await stage.provider.send(note(), addresses), *[Result.DELIVERED] * 100)
    assert [len(stage.told(f"d{place}")) for place in range(100)] == [1] * 100


async def long_text_arrives_cut(stage: PushStage) -> None:
    """Text above what the platform takes is cut by the provider, at a character."""
    text = '你"' * 10_000
    _expect(await stage.provider.send(note(text), [stage.address("d1")]), Result.DELIVERED)
    ((_, told, _, _),) = stage.told("d1")
    assert told
    assert text.startswith(told.removesuffix("…"))
