"""Hello, welcome, resume, calls and the ways a session ends, at the gateway's wires."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from attrs import define
from chat_common.errors import Conflict, NotPermitted, Unavailable
from chat_common.ports.directory import Route
from chat_common.records import Caller
from chat_server.gateway import sessions
from chat_server.services import CloseSessions, Delivery, SessionPush

from tests.chat_server.gateway.fakes import House, message, until


async def test_hello_is_answered_with_welcome_and_takes_a_route() -> None:
    async with House() as house:
        house.im.versions["ann"] = 7
        wire, welcome = await house.enter("ann")
        assert welcome["user"] == {"user": "ann", "name": "Ann"}
        assert (welcome["version"], welcome["epoch"], welcome["resumed"]) == (7, "e1", False)
        assert (welcome["heartbeat"], welcome["window"], welcome["node"], welcome["device"]) == (30, 256, "n1", "d1")
        assert welcome["limits"]["frame_bytes"] == 65_536
        assert len(welcome["session"]) >= 22
        assert house.directory.held == {welcome["session"]: Route("ann", "d1", welcome["session"], "n1", "b1")}
        assert wire.rest() == []
        assert await house.gateway.online(["ann", "bob"]) == ["ann"]


async def test_a_guest_is_welcome_without_a_user() -> None:
    async with House() as house:
        wire, welcome = await house.enter(None)
        assert "user" not in welcome
        assert house.directory.held == {}
        assert await house.gateway.tell(SessionPush(welcome["session"], "n1", message("c", 1)))
        assert (await wire.get())["op"] == "push"
        assert not await house.gateway.tell(SessionPush("unknown", "n1", message("c", 1)))


async def test_a_token_that_is_not_valid_ends_the_connection() -> None:
    async with House() as house:
        house.auth.refused["eve"] = NotPermitted("banned")
        for token, code in (("bad", 4401), ("eve", 4403)):
            wire = house.wire()
            wire.hello(token)
            bye = await wire.until("bye")
            assert (bye["code"], bye["reconnect"], wire.closed) == (code, "never", code)


async def test_a_hello_may_be_repeated_when_the_server_could_not() -> None:
    async with House() as house:
        house.auth.refused["ann"] = Unavailable("the store is away")
        wire = house.wire()
        wire.hello("ann")
        assert (await wire.get())["code"] == "unavailable"
        house.auth.refused.clear()
        wire.hello("ann")
        assert (await wire.get())["op"] == "welcome"


async def test_no_hello_in_time() -> None:
    async with House() as house:
        wire = house.wire()
        house.advance(11)
        assert (await wire.get())["code"] == 4008
        assert wire.closed == 4008
        await until(lambda: not house.gateway.sessions.connections)


async def test_pushes_that_come_during_the_greeting_wait_for_welcome() -> None:
    async with House() as house:

        async def push_meanwhile() -> None:
            await house.gateway.deliver([Delivery([message("c", 1)], {"ann": 8}, "c", 1, 1)])

        house.im.versions["ann"] = 7
        house.im.before_version = push_meanwhile
        wire, welcome = await house.enter("ann")
        assert welcome["version"] == 7
        assert (await wire.get())["data"]["seq"] == 1
        house.advance(31)
        assert (await wire.until("beat"))["version"] == 8


async def test_a_session_goes_on_over_another_connection() -> None:
    async with House() as house:
        wire, welcome = await house.enter("ann")
        for seq in range(1, 4):
            await house.gateway.deliver([Delivery([message("c", seq)], {"ann": seq}, "c", seq, seq)])
        for _ in range(3):
            await wire.until("push")
        wire.link.lost()
        await house.gateway.deliver([Delivery([message("c", 4)], {"ann": 4}, "c", 4, 4)])
        assert await house.gateway.online(["ann"]) == []
        again, second = await house.enter("ann", resume=(welcome["session"], 2))
        assert (second["session"], second["resumed"]) == (welcome["session"], True)
        assert [(await again.get())["data"]["seq"] for _ in range(2)] == [3, 4]
        assert list(house.directory.held) == [welcome["session"]]


async def test_the_old_socket_is_closed_when_its_session_goes_on_elsewhere() -> None:
    async with House() as house:
        wire, welcome = await house.enter("ann")
        again, second = await house.enter("ann", resume=(welcome["session"], 0))
        assert second["resumed"]
        assert (await wire.get())["code"] == 4009
        assert wire.closed == 4009
        await house.gateway.deliver([Delivery([message("c", 1)], {"ann": 1}, "c", 1, 1)])
        assert (await again.get())["op"] == "push"
        assert wire.rest() == []
        await until(lambda: len(house.gateway.sessions.connections) == 1)


@pytest.mark.parametrize(
    ("user", "device", "session", "received"),
    [
        ("bob", "d1", None, 0),
        ("ann", "d2", None, 0),
        ("ann", "d1", "unknown", 0),
        ("ann", "d1", None, 5),
        (None, "d1", None, 0),
    ],
)
async def test_a_refused_resume_begins_anew_and_leaves_the_session_to_its_owner(
    user: str | None, device: str, session: str | None, received: int
) -> None:
    async with House() as house:
        wire, welcome = await house.enter("ann")
        _, other = await house.enter(user, device=device, resume=(session or welcome["session"], received))
        assert not other["resumed"]
        assert other["session"] != welcome["session"]
        assert wire.closed is None
        wire.link.lost()
        _, own = await house.enter("ann", resume=(welcome["session"], 0))
        assert own["resumed"]


async def test_a_detached_session_ends_after_its_time() -> None:
    async with House() as house:
        wire, welcome = await house.enter("ann")
        wire.link.lost()
        house.advance(60)
        house.advance(61)
        assert len(house.gateway.sessions.index) == 0
        _, second = await house.enter("ann", resume=(welcome["session"], 0))
        assert not second["resumed"]
        await until(lambda: list(house.directory.held) == [second["session"]])


async def test_calls_are_answered_by_ref() -> None:
    async with House() as house:
        seen: list[Caller] = []

        async def echo(caller: Caller, params: Any) -> Any:
            seen.append(caller)
            return params

        async def refuse(caller: Caller, params: Any) -> Any:
            raise Conflict("not now")

        async def break_down(caller: Caller, params: Any) -> Any:
            raise ZeroDivisionError

        house.dispatcher.commands.update(echo=echo, refuse=refuse, broken=break_down)
        wire, welcome = await house.enter("ann")
        for ref, command in (("r1", "echo"), ("r2", "refuse"), ("r3", "broken"), ("r4", "unknown")):
            wire.call(ref, command, a=1)
        answers = {frame["ref"]: frame for frame in [await wire.get() for _ in range(4)]}
        assert answers["r1"] == {"op": "reply", "ref": "r1", "result": {"a": 1}}
        assert (answers["r2"]["code"], answers["r2"]["message"]) == ("conflict", "not now")
        assert answers["r3"]["code"] == "internal"
        assert "Zero" not in answers["r3"]["message"]
        assert (answers["r4"]["code"], answers["r4"]["field"]) == ("invalid", "command")
        (caller,) = seen
        assert (caller.user, caller.ref, caller.device, caller.session) == ("ann", "r1", "d1", welcome["session"])
        assert (caller.token, caller.origin, caller.address) == ("ann", "ws", "127.0.0.1")


async def test_a_reply_goes_to_the_connection_that_asked_or_to_none() -> None:
    async with House() as house:
        go_on = asyncio.Event()

        async def slow(caller: Caller, params: Any) -> Any:
            await go_on.wait()
            return {}

        house.dispatcher.commands["slow"] = slow
        wire, welcome = await house.enter("ann")
        wire.call("r1", "slow")
        wire.link.lost()
        again, _ = await house.enter("ann", resume=(welcome["session"], 0))
        go_on.set()
        again.call("r1", "slow")
        assert (await again.get())["ref"] == "r1"
        again.say(op="ping")
        assert (await again.get())["op"] == "pong", "and it was answered once"


async def test_submits_to_one_conversation_are_run_one_after_the_other_where_order_needs_it() -> None:
    async with House() as house:
        running: list[str] = []
        stored: list[str] = []
        gates = {name: asyncio.Event() for name in "abcd"}

        async def submit(caller: Caller, params: Any) -> Any:
            running.append(caller.ref)
            await gates[caller.ref].wait()
            stored.append(caller.ref)
            if caller.ref == "a":
                raise Conflict("no")
            return {}

        house.dispatcher.commands["submit"] = submit
        house.dispatcher.submit_in_order = False
        wire, _ = await house.enter("ann")
        for ref, conversation in (("a", "c1"), ("b", "c1"), ("c", "c2"), ("d", "c1")):
            wire.call(ref, "submit", conversation=conversation)
        for ref in "cdba":
            gates[ref].set()
            if ref == "c":
                assert (await wire.get())["ref"] == "c"
                assert running == ["a", "c"]
        assert [(await wire.get())["ref"] for _ in range(3)] == ["a", "b", "d"]
        assert stored == ["c", "a", "b", "d"]


async def test_too_many_running_calls_stop_the_reading() -> None:
    async with House(max_open_calls=4) as house:
        go_on = asyncio.Event()

        async def slow(caller: Caller, params: Any) -> Any:
            await go_on.wait()
            return {}

        house.dispatcher.commands["slow"] = slow
        wire, _ = await house.enter("ann")
        for ref in "abc":
            wire.call(ref, "slow")
        assert wire.reading
        wire.call("d", "slow")
        assert not wire.reading
        go_on.set()
        for _ in range(4):
            await wire.until("reply")
        assert wire.reading


@define
class SyncReply:
    version: int
    more: bool


async def test_a_finished_sync_sets_the_version() -> None:
    async with House() as house:

        async def sync(caller: Caller, params: Any) -> SyncReply:
            return SyncReply(params["version"] + 10, params["more"])

        house.dispatcher.commands["sync"] = sync
        wire, _ = await house.enter("ann")
        wire.call("r", "sync", version=0, more=True)
        await wire.until("reply")
        house.advance(31)
        assert (await wire.until("beat"))["version"] == 0
        wire.call("r", "sync", version=10, more=False)
        await wire.until("reply")
        house.advance(31)
        assert (await wire.until("beat"))["version"] == 20


async def test_one_who_logs_out_is_answered_before_the_bye() -> None:
    async with House() as house:

        async def logout(caller: Caller, params: Any) -> Any:
            await house.gateway.close(CloseSessions(4401, "logged out", "never", token=caller.token))
            return {}

        house.dispatcher.commands["auth.logout"] = logout
        wire, _ = await house.enter("ann")
        other, _ = await house.enter("ann", device="d2")
        stranger, _ = await house.enter("ann:second", device="d3")
        wire.call("r", "auth.logout")
        assert [(await wire.get())["op"] for _ in range(2)] == ["reply", "bye"]
        assert (await other.get())["code"] == 4401
        assert stranger.closed is None


async def test_closing_matches_every_field_given_and_detached_sessions_too() -> None:
    async with House() as house:
        first, welcome = await house.enter("ann")
        second, other = await house.enter("ann", device="d2")
        first.link.lost()
        closed = await house.gateway.close(
            CloseSessions(4409, "kicked", "never", user="ann", except_session=other["session"])
        )
        assert closed == 1
        assert second.closed is None
        _, again = await house.enter("ann", resume=(welcome["session"], 0))
        assert not again["resumed"]
        assert await house.gateway.close(CloseSessions(4409, "kicked", "never", user="ann", device="d9")) == 0
        assert await house.gateway.close(CloseSessions(4409, "kicked", "never", session=other["session"])) == 1
        assert (await second.get())["code"] == 4409


async def test_a_close_does_not_wait_for_ever_for_a_running_call() -> None:
    async with House() as house:
        go_on = asyncio.Event()

        async def slow(caller: Caller, params: Any) -> Any:
            await go_on.wait()
            return {}

        house.dispatcher.commands["slow"] = slow
        wire, _ = await house.enter("ann")
        wire.call("r", "slow")
        await house.gateway.close(CloseSessions(4403, "banned", "never", user="ann"))
        wire.call("r2", "slow")
        house.advance(1)
        assert wire.closed is None
        house.advance(2)
        assert (await wire.get())["code"] == 4403
        go_on.set()


async def test_a_token_is_renewed_in_good_time_and_its_end_is_the_sessions_end() -> None:
    async with House() as house:
        house.auth.lifetime_ms = 2 * 3_600_000
        wire, _ = await house.enter("ann")
        house.clock.advance(3_601)
        wire.link.heard()
        house.gateway.sessions.wheel.turn()
        push = await wire.until("push")
        assert push["event"] == "token"
        assert push["data"] == {"token": "ann:1", "expires_at": house.clock.wall_ms() + house.auth.lifetime_ms}
        assert await house.gateway.close(CloseSessions(4401, "out", "never", token="ann:1")) == 1
        house.auth.lifetime_ms = 1_000
        wire, _ = await house.enter("ann")
        house.clock.advance(1.1)
        house.gateway.sessions.wheel.turn()
        assert (await wire.until("bye"))["code"] == 4401


async def test_it_beats_and_ends_the_silent() -> None:
    async with House() as house:
        wire, _ = await house.enter("ann")
        house.advance(30)
        assert (await wire.get())["op"] == "beat"
        wire.say(op="ack", received=0)
        house.advance(31)
        assert (await wire.get())["op"] == "beat"
        house.advance(16)
        assert (await wire.until("bye"))["code"] == 4001


async def test_draining_answers_what_runs_and_says_bye_to_all() -> None:
    async with House() as house:
        go_on = asyncio.Event()

        async def slow(caller: Caller, params: Any) -> Any:
            await go_on.wait()
            return {}

        house.dispatcher.commands["slow"] = slow
        wire, _ = await house.enter("ann")
        idle, _ = await house.enter("bob")
        new = house.wire()
        wire.call("r", "slow")
        draining = asyncio.create_task(house.gateway.drain())
        assert (await idle.get())["code"] == 4000
        assert (await new.get())["code"] == 4000
        late = house.wire()
        assert (await late.get())["code"] == 4000
        assert not draining.done()
        go_on.set()
        assert (await wire.get())["op"] == "reply"
        assert (await wire.get()) == {
            "op": "bye", "code": 4000, "reason": "the server is stopping", "reconnect": "resume"
        }  # fmt: skip
        async with asyncio.timeout(5):
            await draining
        assert len(house.gateway.sessions.index) == 0


async def test_many_clients_are_sent_away_in_portions_and_at_once_when_asked_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sessions, "PORTION", 2)
    monkeypatch.setattr(sessions, "PORTION_EVERY", 3_600.0)
    async with House(drain_spread=3_600.0 * 5) as house:

        async def works(caller: Caller, params: Any) -> Any:
            return {}

        house.dispatcher.commands["works"] = works
        wires = [(await house.enter(f"user {number}"))[0] for number in range(5)]
        draining = asyncio.create_task(house.gateway.drain())
        await until(lambda: sum(wire.closed is not None for wire in wires) == 2)
        left = [wire for wire in wires if wire.closed is None]
        for wire in left:
            wire.call("r", "works")
            assert (await wire.get())["op"] == "reply", "who was not told yet goes on working"
        async with asyncio.timeout(10):
            await house.gateway.drain()
            assert [(await wire.get())["code"] for wire in left] == [4000] * 3
        draining.cancel()


async def test_leases_are_renewed_and_forgotten_seats_taken_anew() -> None:
    async with House() as house:
        _, welcome = await house.enter("ann")
        house.directory.held.clear()
        await house.gateway.routes.renew()
        assert list(house.directory.held) == [welcome["session"]]


async def test_a_client_that_leaves_during_the_greeting_leaves_nothing_behind() -> None:
    async with House() as house:
        wire = house.wire()

        async def leave() -> None:
            wire.link.lost()

        house.im.before_version = leave
        wire.hello("ann")
        await until(
            lambda: (
                not (house.gateway.sessions.connections or house.directory.held or len(house.gateway.sessions.index))
            )
        )
        house.im.before_version = None
        await house.enter("ann")


@pytest.mark.parametrize("when", ["hello", "renewal"])
async def test_a_session_that_ends_while_it_is_registered_leaves_no_route(when: str) -> None:
    async with House() as house:
        asked, go_on = asyncio.Event(), asyncio.Event()
        real = house.directory.register

        async def late(route: Route, *, lease: float) -> None:
            asked.set()
            await go_on.wait()
            await real(route, lease=lease)

        if when == "hello":
            house.directory.register = late  # type: ignore[method-assign]
            wire = house.wire()
            wire.hello("ann")
            renewal = None
        else:
            wire, _ = await house.enter("ann")
            house.directory.held.clear()  # The directory has forgotten everything.
            house.directory.register = late  # type: ignore[method-assign]
            renewal = asyncio.create_task(house.gateway.routes.renew())
        await asked.wait()
        await house.gateway.close(CloseSessions(4100, "logged out", "sync", user="ann"))
        await until(lambda: not house.gateway.sessions.index.by_user)
        for _ in range(5):
            await asyncio.sleep(0)  # The route is given back, before it is there.
        go_on.set()
        if renewal is not None:
            await renewal
        for _ in range(20):
            await asyncio.sleep(0)
        assert house.directory.held == {}
