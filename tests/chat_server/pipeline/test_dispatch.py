from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import msgspec
import pytest
import structlog
from attrs import define, evolve
from chat_common.clock import ManualClock
from chat_common.codec.json import JsonCodec
from chat_common.errors import (
    ChatError,
    Internal,
    Invalid,
    NotAuthenticated,
    NotPermitted,
    RateLimited,
    RefConflict,
    Unavailable,
)
from chat_common.plugins import Owned, Owner, PluginError
from chat_common.records import Caller, Command, Interceptor
from chat_server.contributions import screens_message
from chat_server.pipeline import LimitSettings, Pipeline, request_hash
from chat_server.refusals import Refusals
from msgspec import Meta, Raw

ANNA = Caller("anna", "r1", origin="ws")
GUEST = Caller(None, "r1", origin="ws", address="192.0.2.1")
US = Owner("tests", "tests", "1")


@define(kw_only=True)
class Say:
    text: Annotated[str, Meta(max_length=5)]
    loud: bool | None = None


@define(kw_only=True)
class Said:
    text: str


class KeptReplies:
    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], tuple[bytes, bytes]] = {}

    async def get(self, user: str, ref: str) -> tuple[bytes, bytes] | None:
        return self.kept.get((user, ref))

    async def put(self, user: str, ref: str, digest: bytes, result: bytes) -> None:
        self.kept[user, ref] = (digest, result)


class House:
    """A pipeline over three commands, and what their handlers saw."""

    def __init__(
        self, *interceptors: Interceptor, limits: LimitSettings | None = None, refusals: Refusals | None = None
    ) -> None:
        self.seen: list[tuple[Caller, Any]] = []
        self.gate: asyncio.Event | None = None
        self.error: BaseException | None = None
        self.replies = KeptReplies()
        self.roles: dict[str, str] = {}
        self.clock = ManualClock()
        commands = [
            Command("say", Say, Said, self.say, "changes"),
            Command("submit", Say, Said, self.say, "keeps", screens=screens_message),
            Command("listen", Say, Said, self.say, "reads", cost=3),
            Command("dear", Say, Said, self.say, "reads", cost=99),
            Command("rule", Say, Said, self.say, "changes", callers="admins"),
            Command("auth.methods", Say, Said, self.say, "reads", callers="guests"),
        ]
        self.pipeline = Pipeline(
            [Owned(command, US) for command in commands],
            [Owned(interceptor, US) for interceptor in interceptors],
            codec=JsonCodec(),
            clock=self.clock,
            replies=self.replies,
            limits=limits,
            refusals=refusals,
            role_of=self.role_of,
        )

    async def role_of(self, user: str) -> str:
        return self.roles.get(user, "user")

    async def say(self, caller: Caller, request: Say) -> Said:
        self.seen.append((caller, request))
        if self.gate is not None:
            await self.gate.wait()
        if self.error is not None:
            raise self.error
        return Said(text=f"{request.text} {len(self.seen)}")

    async def call(self, command: str = "say", params: Any = None, caller: Caller = ANNA) -> Any:
        return await self.pipeline.call(caller, command, {"text": "hi"} if params is None else params)


async def refused(kind: type[ChatError], call: Any) -> ChatError:
    with pytest.raises(kind) as error:
        await call
    assert type(error.value) is kind
    return error.value


# --- decoding and rights


async def test_what_is_for_admins_asks_for_the_role_at_each_call() -> None:
    house = House()
    await refused(NotAuthenticated, house.call("rule", caller=Caller(None, "")))
    await refused(NotPermitted, house.call("rule"))
    assert not house.seen
    house.roles["anna"] = "admin"
    assert (await house.call("rule")).text == "hi 1"
    house.roles["anna"] = "user"
    await refused(NotPermitted, house.call("rule"))  # not even its kept reply
    assert len(house.seen) == 1


async def test_params_become_the_request_record() -> None:
    house = House()
    await house.call(params=Raw(b'{"text": "hi", "loud": null, "more": 1}'))
    caller, request = house.seen[0]
    assert request == Say(text="hi")
    assert (caller.command, caller.user, caller.ref) == ("say", "anna", "r1")
    assert caller.request_hash == request_hash("say", Say(text="hi"))


@pytest.mark.parametrize(
    ("params", "field", "limit"),
    [
        (Raw(b'{"text": "too long"}'), "text", 5),
        (Raw(b'{"text": 1}'), "text", None),
        (Raw(b"{}"), "text", None),
        (Raw(b"[]"), None, None),
        (None, "text", None),
        ({"text": "too long"}, "text", 5),
    ],
)
async def test_bad_params_name_field_and_limit(params: Any, field: str | None, limit: int | None) -> None:
    house = House()
    error = await refused(Invalid, house.pipeline.call(ANNA, "say", params))
    assert (error.field, error.limit) == (field, limit)
    assert not house.seen


async def test_an_unknown_command_is_invalid_before_rights() -> None:
    error = await refused(Invalid, House().call("sai", caller=GUEST))
    assert error.field == "command"
    assert "did you mean 'say'" in error.message


async def test_guests_may_call_what_is_for_them() -> None:
    house = House()
    await refused(NotAuthenticated, house.call("say", caller=GUEST))
    await refused(NotAuthenticated, house.call("say", {"text": 1}, caller=GUEST))
    assert (await house.call("auth.methods", caller=GUEST)).text == "hi 1"


@pytest.mark.parametrize("ref", ["", "r" * 65])
async def test_the_ref_of_a_change_has_bounds(ref: str) -> None:
    error = await refused(Invalid, House().call(caller=evolve(ANNA, ref=ref)))
    assert (error.field, error.limit) == ("ref", 64)


async def test_what_breaks_inside_tells_nothing() -> None:
    house = House()
    house.error = ValueError("the password is secret")
    error = await refused(Internal, house.call())
    assert "secret" not in error.message
    assert house.pipeline.commands["say"].outcomes == {"internal": 1}


# --- once per ref


async def test_a_repeated_change_is_answered_from_memory() -> None:
    house = House()
    first = await house.call()
    assert await house.call() == first
    assert len(house.seen) == 1
    assert (await house.call(caller=evolve(ANNA, ref="r2"))).text == "hi 2"
    assert (await house.call(caller=evolve(ANNA, user="bert"))).text == "hi 3"


async def test_the_same_ref_for_something_else_conflicts() -> None:
    house = House()
    await house.call()
    await refused(RefConflict, house.call(params={"text": "no"}))
    assert len(house.seen) == 1


async def test_only_a_success_spends_a_ref() -> None:
    house = House()
    house.error = NotPermitted("no")
    await refused(NotPermitted, house.call())
    house.error = None
    assert (await house.call(params={"text": "else"})).text == "else 2"


async def test_reads_and_guests_have_no_memory() -> None:
    house = House()
    await house.call("listen")
    await house.call("listen", {"text": "other"})
    await house.call("auth.methods", caller=GUEST)
    await house.call("auth.methods", caller=GUEST)
    assert len(house.seen) == 4
    assert not house.replies.kept


@pytest.mark.parametrize("command", ["say", "submit"])
async def test_a_second_call_waits_for_the_first(command: str) -> None:
    house = House()
    house.gate = asyncio.Event()
    calls = [asyncio.create_task(house.call(command)) for _ in range(3)]
    await asyncio.sleep(0)
    await refused(RefConflict, house.call(command, {"text": "other"}))
    house.gate.set()
    first, *others = await asyncio.gather(*calls)
    assert others == [first, first]
    assert len(house.seen) == 1
    assert not len(house.pipeline._once)


async def test_a_second_call_gets_the_error_of_the_first() -> None:
    house = House()
    house.gate, house.error = asyncio.Event(), NotPermitted("no")
    calls = [asyncio.create_task(house.call("submit")) for _ in range(2)]
    await asyncio.sleep(0)
    house.gate.set()
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(result) for result in results] == [NotPermitted, NotPermitted]
    assert len(house.seen) == 1


async def test_one_who_waits_takes_the_place_of_a_cancelled_call() -> None:
    house = House()
    house.gate = asyncio.Event()
    first, second, third = (asyncio.create_task(house.call("submit")) for _ in range(3))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait([first])
    house.gate.set()
    assert await second == await third
    assert len(house.seen) == 2


# --- interceptors


def interceptor(name: str, handler: Callable[[Caller, Any], Any], point: Any = "command", **extra: Any) -> Interceptor:
    return Interceptor(name, point, handler, **extra)


def appends(word: str) -> Callable[[Caller, Any], Any]:
    return lambda caller, request: Say(text=request.text + word)


async def test_they_run_in_order_and_may_change_the_request() -> None:
    async def waits(caller: Caller, request: Say) -> Say:
        await asyncio.sleep(0)
        return Say(text=request.text + "2")

    steps = [
        interceptor("c", appends("3"), order=3000),
        interceptor("s", appends("4"), point="submit"),
        interceptor("b", waits, order=2000),
        interceptor("a", appends("1"), order=1000),
    ]
    house = House(*steps)
    await house.call("submit")
    await house.call("say")
    assert [request.text for _, request in house.seen] == ["hi1234", "hi123"]
    # The hash is of what the client sent.
    assert house.seen[0][0].request_hash == request_hash("submit", Say(text="hi"))
    names = [(stage.interceptor.point, stage.interceptor.name) for stage in house.pipeline.describe()]
    assert names == [
        ("command", "authentication"),
        ("command", "validation"),
        ("command", "a"),
        ("command", "b"),
        ("command", "c"),
        ("submit", "s"),
    ]


@pytest.mark.parametrize("waits", [False, True])
async def test_a_refusal_reaches_the_caller_and_not_the_handler(waits: bool) -> None:
    def refuse(caller: Caller, request: Any) -> Any:
        raise NotPermitted("not on Sundays")

    async def refuse_later(caller: Caller, request: Any) -> Any:
        raise NotPermitted("not on Sundays")

    house = House(interceptor("no", refuse_later if waits else refuse, on_error="open"))
    error = await refused(NotPermitted, house.call())
    assert error.message == "not on Sundays"
    assert not house.seen


async def hangs(caller: Caller, request: Any) -> Any:
    await asyncio.Event().wait()


async def raises_later(caller: Caller, request: Any) -> Any:
    raise LookupError


def raises(caller: Caller, request: Any) -> Any:
    raise LookupError


@pytest.mark.parametrize("handler", [hangs, raises, raises_later])
@pytest.mark.parametrize("point", ["command", "submit"])
async def test_one_that_raises_or_hangs_follows_its_policy(handler: Any, point: str) -> None:
    house = House(interceptor("broken", handler, point=point, timeout=0.01, on_error="closed"))
    error = await refused(Unavailable, house.call("submit"))
    assert "broken" in error.message
    assert not house.seen
    house = House(interceptor("broken", handler, point=point, timeout=0.01, on_error="open"))
    assert (await house.call("submit")).text == "hi 1"


async def test_what_an_interceptor_sends_does_not_pass_it_again() -> None:
    house: House
    passed: list[str] = []

    async def echo(caller: Caller, request: Say) -> Say:
        passed.append(f"echo {request.text}")
        await house.call("submit", {"text": "echo"}, evolve(caller, ref=f"{caller.ref}-echo"))
        return request

    def count(caller: Caller, request: Say) -> Say:
        passed.append(f"count {request.text}")
        return request

    house = House(interceptor("echo", echo, point="submit"), interceptor("count", count, point="submit", order=2000))
    await house.call("submit")
    assert passed == ["echo hi", "count echo", "count hi"]
    assert [request.text for _, request in house.seen] == ["echo", "hi"]
    await house.call("submit", caller=evolve(ANNA, ref="r2"))
    assert passed.count("echo hi") == 2, "the guard must end with the call"


async def test_the_guard_holds_in_tasks_that_a_plain_function_starts() -> None:
    house: House
    tasks: list[asyncio.Task[Any]] = []

    def echo(caller: Caller, request: Say) -> Say:
        call = house.call("submit", {"text": "echo"}, evolve(caller, ref=f"{caller.ref}-echo"))
        tasks.append(asyncio.create_task(call))
        return request

    house = House(interceptor("echo", echo, point="submit"))
    await house.call("submit")
    await asyncio.gather(*tasks)
    assert len(tasks) == 1
    assert len(house.seen) == 2


async def test_hot_points_take_plain_functions_only() -> None:
    for point in ("push", "frame_in"):
        with pytest.raises(PluginError, match=rf"tests \(tests 1\): interceptor 'slow': at '{point}' nothing may wait"):
            House(interceptor("slow", hangs, point=point))


async def test_hot_points_change_refuse_and_follow_the_policy() -> None:
    house = House(interceptor("up", lambda caller, value: value.upper(), point="push"))
    assert house.pipeline.intercept("push", None, "text") == "TEXT"
    assert house.pipeline.intercept("frame_in", ANNA, "text") == "text"
    assert house.pipeline.intercepts("push")
    assert not house.pipeline.intercepts("frame_in")
    with pytest.raises(Unavailable):
        House(interceptor("broken", raises, point="push")).pipeline.intercept("push", None, "text")
    open_one = House(interceptor("broken", raises, point="push", on_error="open"))
    assert open_one.pipeline.intercept("push", None, "text") == "text"


def test_order_is_kept_unless_something_waits() -> None:
    assert House(interceptor("a", raises), interceptor("b", raises, point="submit")).pipeline.submit_in_order
    assert not House(interceptor("a", hangs)).pipeline.submit_in_order
    assert not House(interceptor("a", hangs, point="submit")).pipeline.submit_in_order


async def test_calls_begun_in_order_reach_the_handler_in_order() -> None:
    house = House(interceptor("a", appends("!")))
    calls = [house.call("submit", {"text": str(n)}, evolve(ANNA, ref=f"r{n}")) for n in range(10)]
    await asyncio.gather(*(asyncio.create_task(call) for call in calls))
    assert [request.text for _, request in house.seen] == [f"{n}!" for n in range(10)]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (interceptor("x", raises, point="nowhere"), "no point 'nowhere'"),
        (interceptor("x", raises, order=5), "orders below 1000"),
    ],
)
def test_interceptors_that_cannot_be(wrong: Interceptor, words: str) -> None:
    with pytest.raises(PluginError, match=words):
        House(wrong)


# --- rate limit


def test_a_user_has_points_and_is_told_when_to_come_back() -> None:
    limits = LimitSettings(
        points=2, burst=6, guest_points=1, guest_burst=2, bots=["robbie"], bot_points=10, bot_burst=30
    )
    refusals = Refusals()
    house = House(limits=limits, refusals=refusals)

    def asks(caller: Caller, times: int, command: str | None = "submit") -> int:
        """How many of them were let in."""
        for number in range(times):
            try:
                house.pipeline.charge(caller, command)
            except RateLimited:
                return number
        return times

    assert asks(ANNA, 10) == 6
    with pytest.raises(RateLimited) as caught:
        house.pipeline.charge(ANNA, "submit")
    assert (caught.value.limit, caught.value.retry_after) == (2, 0.5)
    assert asks(evolve(ANNA, user="bert"), 10, "no such command") == 6
    assert asks(evolve(ANNA, user="cleo"), 10, None) == 6
    assert asks(evolve(ANNA, user="dora"), 10, "listen") == 2  # which costs 3
    assert asks(evolve(ANNA, user="emil"), 10, "dear") == 1  # which costs more than there ever is
    assert asks(evolve(ANNA, user="robbie"), 40) == 30
    assert asks(GUEST, 10) == 2
    assert asks(evolve(GUEST, address=None), 50) == 50
    assert asks(evolve(ANNA, origin="local"), 50) == 50
    house.clock.advance(1)
    assert asks(ANNA, 10) == 2
    assert refusals.counts["rate"] == 9


async def test_outcomes_are_counted() -> None:
    house = House()
    await house.call()
    await refused(Invalid, house.call(params={}))
    entry = house.pipeline.commands["say"]
    assert entry.outcomes == {"ok": 1, "invalid": 1}
    assert entry.seconds > 0


async def test_what_meets_a_limit_is_counted_and_said_once_a_minute() -> None:
    house = House()
    with structlog.testing.capture_logs() as lines:
        for _ in range(3):
            await refused(Invalid, house.call(params={"text": "too long"}))
        await refused(Invalid, house.call(params={}))  # No limit, no refusal: a mistake of a client.
    assert house.pipeline.refusals.counts == {"say": 3}
    (line,) = [line for line in lines if line["event"] == "refused"]
    assert (line["reason"], line["code"], line["field"], line["limit"]) == ("say", "invalid", "text", 5)


def test_the_hash_is_over_the_meaning_not_the_text() -> None:
    def digest(text: bytes) -> bytes:
        return request_hash("say", msgspec.json.decode(text, type=Say))

    same: Sequence[bytes] = [b'{"text":"a","loud":true}', b'{ "loud": true, "text": "\\u0061" }']
    assert len({digest(text) for text in same}) == 1
    assert digest(b'{"text":"a"}') != digest(b'{"text":"a","loud":true}')
    assert request_hash("say", Say(text="a")) != request_hash("sa", Say(text="ya"))
