"""What every `Rpc` must hold: run each of `checks()`.

::

    @pytest.mark.parametrize("check", checks(), ids=lambda check: check.__name__)
    async def test_contract(check):
        async with two_nodes() as (one, two):   # named "one" and "two", each the other's peer for `SERVICES`
            await check(one, two)
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from attrs import frozen

from chat_common.errors import ChatError, Conflict, NotFound, RateLimited, Unavailable
from chat_common.ports.rpc import Method, Proxy, Rpc, chosen, serve

SERVICES = frozenset(("echo", "other"))
Check = Callable[[Rpc, Rpc], Awaitable[None]]


@frozen
class Ask:
    text: str
    number: int = 0
    parts: tuple[bytes, ...] = ()


@frozen
class Answer:
    text: str
    number: int


METHOD = Method(Ask, Answer)


def checks() -> Sequence[Check]:
    """All checks, in no order that matters."""
    return [
        a_record_goes_there_and_an_answer_comes_back,
        errors_of_ours_keep_their_code_and_fields,
        any_other_error_is_unavailable_and_says_nothing,
        a_deadline_ends_the_call_at_both_ends,
        a_caller_that_is_cancelled_cancels_the_handler,
        calls_begin_in_order_and_end_in_any,
        many_calls_run_side_by_side,
        what_nobody_serves_is_unavailable,
        any_node_of_a_service_may_answer_this_one_first,
        a_key_goes_to_the_same_node_from_everywhere,
        a_peer_that_is_gone_is_not_asked,
        a_service_is_called_by_its_protocol,
    ]


async def _call(
    rpc: Rpc, text: str, *, deadline: float = 20, service: str = "echo", node: str | None = "two"
) -> Answer:
    found = await rpc.call(service, "echo", Ask(text), METHOD, deadline=deadline, node=node)
    assert isinstance(found, Answer)
    return found


async def _echo(ask: Ask) -> Answer:
    return Answer(ask.text, ask.number)


async def a_record_goes_there_and_an_answer_comes_back(one: Rpc, two: Rpc) -> None:
    async def count(ask: Ask) -> Answer:
        return Answer(ask.text, ask.number + sum(map(len, ask.parts)))

    async def nothing(ask: Ask) -> None:
        assert ask == Ask("nothing")

    two.serve("echo", {"echo": (METHOD, count), "nothing": (Method(Ask, type(None)), nothing)})
    ask = Ask("grüß dich \U0001f600", 5, (b"\x00\xff", b"x" * 100_000))
    assert await one.call("echo", "echo", ask, METHOD, deadline=20, node="two") == Answer(ask.text, 100_007)
    assert await one.call("echo", "nothing", Ask("nothing"), Method(Ask, type(None)), deadline=20, node="two") is None


async def errors_of_ours_keep_their_code_and_fields(one: Rpc, two: Rpc) -> None:
    async def refuse(ask: Ask) -> Answer:
        if ask.text == "rate":
            raise RateLimited("Slower, please.", retry_after=1.5, limit=7)
        if ask.text == "conflict":
            raise Conflict("Another device is there.", field="device", details={"devices": ["a", "b"]})
        raise NotFound("There is no such thing.")

    two.serve("echo", {"echo": (METHOD, refuse)})
    for text, expected in (
        ("rate", RateLimited("Slower, please.", retry_after=1.5, limit=7)),
        ("conflict", Conflict("Another device is there.", field="device", details={"devices": ["a", "b"]})),
        ("none", NotFound("There is no such thing.")),
    ):
        found = await _error(_call(one, text))
        assert type(found) is type(expected)
        assert found.as_dict() == expected.as_dict()


async def any_other_error_is_unavailable_and_says_nothing(one: Rpc, two: Rpc) -> None:
    async def fail(ask: Ask) -> Answer:
        raise {"lookup": LookupError, "timeout": TimeoutError}[ask.text]("a secret of the inside")

    two.serve("echo", {"echo": (METHOD, fail)})
    for text in ("lookup", "timeout"):
        assert "secret" not in (await _unavailable(_call(one, text))).message


async def a_deadline_ends_the_call_at_both_ends(one: Rpc, two: Rpc) -> None:
    cancelled = asyncio.Event()

    async def hang(ask: Ask) -> Answer:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        raise AssertionError

    two.serve("echo", {"echo": (METHOD, hang)})
    await _unavailable(_call(one, "hang", deadline=0.2))
    async with asyncio.timeout(20):
        await cancelled.wait()


async def a_caller_that_is_cancelled_cancels_the_handler(one: Rpc, two: Rpc) -> None:
    begun, cancelled = asyncio.Event(), asyncio.Event()

    async def hang(ask: Ask) -> Answer:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        raise AssertionError

    two.serve("echo", {"echo": (METHOD, hang)})
    calling = asyncio.create_task(_call(one, "hang", deadline=600))
    async with asyncio.timeout(20):
        await begun.wait()
        calling.cancel()
        await asyncio.gather(calling, return_exceptions=True)
        await cancelled.wait()


async def calls_begin_in_order_and_end_in_any(one: Rpc, two: Rpc) -> None:
    begun: list[str] = []
    last = asyncio.Event()

    async def wait_for_the_last(ask: Ask) -> Answer:
        begun.append(ask.text)
        if ask.text == "49":
            last.set()
        await last.wait()
        return Answer(ask.text, 0)

    two.serve("echo", {"echo": (METHOD, wait_for_the_last)})
    answers = await asyncio.gather(*(_call(one, str(number)) for number in range(50)))
    assert [answer.text for answer in answers] == begun == [str(number) for number in range(50)]


async def many_calls_run_side_by_side(one: Rpc, two: Rpc) -> None:
    two.serve("echo", {"echo": (METHOD, _echo)})
    one.serve("echo", {"echo": (METHOD, _echo)})
    there = [_call(one, str(number)) for number in range(1_000)]
    back = [_call(two, str(number), node="one") for number in range(1_000)]
    answers = await asyncio.gather(*there, *back)
    assert [answer.text for answer in answers] == 2 * [str(number) for number in range(1_000)]


async def what_nobody_serves_is_unavailable(one: Rpc, two: Rpc) -> None:
    two.serve("echo", {"echo": (METHOD, _echo)})
    await _unavailable(_call(one, "a", node="three"))
    await _unavailable(_call(one, "a", service="other"))
    await _unavailable(_call(one, "a", service="never", node=None))
    await _unavailable(one.call("echo", "other", Ask("a"), METHOD, deadline=20, node="two"))


async def any_node_of_a_service_may_answer_this_one_first(one: Rpc, two: Rpc) -> None:
    async def named(ask: Ask) -> Answer:
        return Answer("one", 0)

    two.serve("echo", {"echo": (METHOD, _echo)})
    assert (await _call(one, "two", node=None)).text == "two"
    one.serve("echo", {"echo": (METHOD, named)})
    assert (await _call(one, "two", node=None)).text == "one"
    assert (await _call(one, "two", node="two")).text == "two"
    assert (await _call(one, "x", node="one")).text == "one"


async def a_key_goes_to_the_same_node_from_everywhere(one: Rpc, two: Rpc) -> None:
    def naming(name: str) -> Callable[[Ask], Awaitable[Answer]]:
        async def named(ask: Ask) -> Answer:
            return Answer(name, 0)

        return named

    one.serve("echo", {"echo": (METHOD, naming("one"))})
    two.serve("echo", {"echo": (METHOD, naming("two"))})
    seen = set()
    for number in range(20):
        key = f"key{number}"
        found = [await rpc.call("echo", "echo", Ask(""), METHOD, deadline=20, key=key) for rpc in (one, two)]
        assert [answer.text for answer in found] == [chosen(("one", "two"), key)[0]] * 2
        seen.add(found[0].text)
    assert seen == {"one", "two"}


async def a_peer_that_is_gone_is_not_asked(one: Rpc, two: Rpc) -> None:
    two.serve("echo", {"echo": (METHOD, _echo)})
    await _call(one, "a")
    one.meet("one", {})
    await _unavailable(_call(one, "b"))
    await _unavailable(_call(one, "c", node=None))


class Counting(Protocol):
    async def double(self, ask: Ask) -> Answer: ...

    async def forget(self, ask: Ask) -> None: ...


class Counter:
    async def double(self, ask: Ask) -> Answer:
        return Answer(ask.text, 2 * ask.number)

    async def forget(self, ask: Ask) -> None:
        raise NotFound(ask.text)


async def a_service_is_called_by_its_protocol(one: Rpc, two: Rpc) -> None:
    serve(two, "other", Counting, Counter())
    proxy: Counting = Proxy(one, "other", Counting, deadline=20)  # type: ignore[assignment]
    assert await proxy.double(Ask("a", 4)) == Answer("a", 8)
    found = await _error(proxy.forget(Ask("it")))
    assert (type(found), found.message) == (NotFound, "it")


async def _error(calling: Awaitable[object]) -> ChatError:
    try:
        found = await calling
    except ChatError as error:
        return error
    raise AssertionError(f"it was answered: {found!r}")


async def _unavailable(calling: Awaitable[object]) -> ChatError:
    error = await _error(calling)
    assert isinstance(error, Unavailable), repr(error)
    return error
