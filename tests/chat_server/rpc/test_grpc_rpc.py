"""What calls over gRPC add to the contract: other releases, nodes that go, and whom to trust."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen
from chat_common.contracts.rpc import METHOD, Answer, Ask
from chat_common.errors import Invalid, NotAuthenticated, TooLarge, Unavailable
from chat_common.ports.rpc import Method, Peer
from chat_common.settings import SetupError
from chat_server.rpc import listener
from chat_server.rpc.frames import Calls, error_of, read_calls
from chat_server.rpc.grpc_rpc import GrpcRpc
from chat_server.rpc.link import Link
from chat_server.rpc.settings import GrpcRpcSettings, reached_at
from chat_server.services import LoginEnded

from tests.chat_server.rpc.nodes import introduce, two_nodes
from tests.services.certificates import self_signed
from tests.services.process import free_port


async def echo(ask: Ask) -> Answer:
    return Answer(ask.text, ask.number)


async def call(rpc: GrpcRpc, text: str, **others: Any) -> Any:
    return await rpc.call("echo", "echo", Ask(text), METHOD, **{"deadline": 20, "node": "two"} | others)


@frozen
class LaterAsk:
    text: str
    number: int = 0
    parts: tuple[bytes, ...] = ()
    mood: str = "new"


@frozen
class LaterAnswer:
    text: str
    number: int
    mood: str = "unknown"


@frozen
class EarlierAsk:
    text: str


async def test_neighbouring_releases_understand_each_other() -> None:
    """A field that only one side knows is passed over, or has its default."""
    async with two_nodes() as (one, two):
        two.serve("echo", {"echo": (METHOD, echo)})
        later = await one.call("echo", "echo", LaterAsk("a", 3), Method(LaterAsk, LaterAnswer), deadline=20, node="two")
        assert later == LaterAnswer("a", 3, "unknown")
        earlier = await one.call("echo", "echo", EarlierAsk("b"), Method(EarlierAsk, Answer), deadline=20, node="two")
        assert earlier == Answer("b", 0)

        async def answer(ask: LaterAsk) -> LaterAnswer:
            return LaterAnswer(ask.text, ask.number, ask.mood)

        two.serve("echo", {"echo": (Method(LaterAsk, LaterAnswer), answer)})
        assert await call(one, "c") == Answer("c", 0)


async def test_a_record_that_does_not_fit_is_invalid_and_an_answer_is_unavailable() -> None:
    async with two_nodes() as (one, two):
        two.serve("echo", {"echo": (METHOD, echo)})
        with pytest.raises(Invalid, match=r"echo\.echo cannot be read"):
            await one.call("echo", "echo", {"text": 5}, METHOD, deadline=20, node="two")
        with pytest.raises(Unavailable, match="cannot be read"):
            await one.call("echo", "echo", Ask("a"), Method(Ask, int), deadline=20, node="two")


async def test_the_calls_of_a_turn_travel_in_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    messages: list[Calls] = []

    def read(message: bytes) -> Calls:
        messages.append(read_calls(message))
        return messages[-1]

    monkeypatch.setattr(listener, "read_calls", read)
    async with two_nodes() as (one, two):
        two.serve("echo", {"echo": (METHOD, echo)})
        await call(one, "first")
        messages.clear()
        await asyncio.gather(*(call(one, str(number)) for number in range(200)))
        assert [len(message.calls) for message in messages] == [200]


async def test_what_is_too_large_is_refused_on_both_ways() -> None:
    async def grow(ask: Ask) -> Answer:
        return Answer("x" * ask.number, 0)

    async with two_nodes(message_bytes=100_000) as (one, two):
        two.serve("echo", {"echo": (METHOD, grow)})
        with pytest.raises(TooLarge) as caught:
            await one.call("echo", "echo", Ask("x" * 100_001), METHOD, deadline=20, node="two")
        assert caught.value.limit == 100_000
        with pytest.raises(TooLarge):
            await one.call("echo", "echo", Ask("", 100_001), METHOD, deadline=20, node="two")
        # Many that are just small enough do not make a message that is too large.
        answers = await asyncio.gather(
            *(one.call("echo", "echo", Ask("x" * 90_000, 90_000), METHOD, deadline=60, node="two") for _ in range(60))
        )
        assert {len(answer.text) for answer in answers} == {90_000}


async def test_so_many_calls_are_open_and_no_more() -> None:
    release = asyncio.Event()

    async def wait(ask: Ask) -> Answer:
        await release.wait()
        return Answer(ask.text, 0)

    async with two_nodes(max_open_calls=10) as (one, two):
        two.serve("echo", {"echo": (METHOD, wait)})
        calls = [asyncio.create_task(call(one, str(number))) for number in range(12)]
        done, open_ones = await asyncio.wait(calls, return_when=asyncio.FIRST_EXCEPTION)
        assert len(done) == 2
        assert all(isinstance(each.exception(), Unavailable) for each in done)
        release.set()
        assert len(await asyncio.gather(*open_ones)) == 10


async def test_a_node_that_dies_fails_its_calls_at_once_and_is_found_again() -> None:
    begun = asyncio.Event()

    async def hang(ask: Ask) -> Answer:
        begun.set()
        await asyncio.Event().wait()
        raise AssertionError

    port = free_port()
    one = GrpcRpc(GrpcRpcSettings())
    async with one.opened():
        two = GrpcRpc(GrpcRpcSettings(address=f"127.0.0.1:{port}"))
        two.serve("echo", {"echo": (METHOD, hang)})
        async with two.opened():
            introduce(one=one, two=two)
            lost = asyncio.create_task(call(one, "lost", deadline=600))
            repeated = asyncio.create_task(call(one, "repeated", deadline=60, repeat=True))
            await begun.wait()
        with pytest.raises(Unavailable, match="broke"):
            await lost
        with pytest.raises(Unavailable):
            await call(one, "nobody is there", deadline=600)
        again = GrpcRpc(GrpcRpcSettings(address=f"127.0.0.1:{port}"))
        again.serve("echo", {"echo": (METHOD, echo)})
        async with again.opened():
            assert await repeated == Answer("repeated", 0)
            assert await call(one, "new", deadline=20, repeat=True) == Answer("new", 0)


async def test_any_other_node_answers_for_one_that_is_gone() -> None:
    one, two, three = (GrpcRpc(GrpcRpcSettings()) for _ in range(3))
    async with one.opened(), three.opened():
        three.serve("echo", {"echo": (METHOD, echo)})
        async with two.opened():
            introduce(one=one, two=two, three=three)
        for number in range(20):
            answer = await call(one, str(number), node=None, key=f"key{number}")
            assert answer.text == str(number)


async def refusal(rpc: GrpcRpc) -> str:
    """Why the other node turns this one away. Where its answer comes before gRPC has ended its own first step, gRPC
    only says "Internal error from Core"; so it is asked until it says more."""
    async with asyncio.timeout(60):
        while True:
            with pytest.raises(Unavailable) as refused:
                await call(rpc, "a")
            if not any(words in str(refused.value) for words in ("Internal error from Core", "a moment ago")):
                return str(refused.value)
            await asyncio.sleep(0.01)


async def test_a_wrong_secret_is_refused(tmp_path: Path) -> None:
    for name, secret in (("right", "s" * 16), ("wrong", "t" * 16)):
        (tmp_path / name).write_text(secret + "\n")
    right, same, wrong, none = (
        GrpcRpc(GrpcRpcSettings(secret_file=str(tmp_path / name) if name else ""))
        for name in ("right", "right", "wrong", "")
    )
    async with right.opened(), same.opened(), wrong.opened(), none.opened():
        right.serve("echo", {"echo": (METHOD, echo)})
        for node in (same, wrong, none):
            node.meet("other", {"two": Peer(right.address, frozenset({"echo"}))})
        assert await call(same, "a") == Answer("a", 0)
        for stranger in (wrong, none):
            assert "secret is wrong" in await refusal(stranger)


async def test_certificates_of_one_authority_are_asked_for_on_both_sides(tmp_path: Path) -> None:
    ours, theirs = self_signed(tmp_path / "ours"), self_signed(tmp_path / "theirs")

    def node(folder: Path, ca: Path) -> GrpcRpc:
        return GrpcRpc(
            GrpcRpcSettings(
                ca_file=str(ca / "public.crt"),
                cert_file=str(folder / "public.crt"),
                key_file=str(folder / "private.key"),
            )
        )

    one, two = node(ours, ours), node(ours, ours)
    # It trusts us, so it would call; its own certificate is not of our authority.
    stranger, open_one = node(theirs, ours), GrpcRpc(GrpcRpcSettings())
    async with one.opened(), two.opened(), stranger.opened(), open_one.opened():
        two.serve("echo", {"echo": (METHOD, echo)})
        for each in (one, stranger, open_one):
            each.meet("other", {"two": Peer(two.address, frozenset({"echo"}))})
        assert await call(one, "a") == Answer("a", 0)
        for each in (stranger, open_one):
            with pytest.raises(Unavailable):
                await call(each, "a", deadline=5)


async def test_other_machines_need_a_proof(tmp_path: Path) -> None:
    for address in ("0.0.0.0:0", "[::]:0", "chat.example:7000", "192.0.2.1:7000"):
        with pytest.raises(SetupError, match="secret_file"):
            await GrpcRpc(GrpcRpcSettings(address=address)).opened().__aenter__()
    async with GrpcRpc(GrpcRpcSettings()).opened() as one:
        one.meet("one", {"two": Peer("192.0.2.1:7000", frozenset({"echo"}))})
        with pytest.raises(Unavailable, match=r"192\.0\.2\.1"):
            await call(one, "a")
    (tmp_path / "short").write_text("too short")
    for settings, reason in (
        ({"secret_file": str(tmp_path / "short")}, "16 ASCII characters"),
        ({"secret_file": str(tmp_path / "missing")}, "cannot be read"),
        ({"cert_file": str(tmp_path / "short")}, "needs all of"),
    ):
        with pytest.raises(SetupError, match=reason):
            GrpcRpc(GrpcRpcSettings(**settings))


async def test_a_taken_address_is_named() -> None:
    async with GrpcRpc(GrpcRpcSettings()).opened() as one:
        with pytest.raises(SetupError, match="taken"):
            await GrpcRpc(GrpcRpcSettings(address=one.address)).opened().__aenter__()


async def test_nodes_of_one_machine_may_use_unix_sockets(tmp_path: Path) -> None:
    one, two = (GrpcRpc(GrpcRpcSettings(address=f"unix:{tmp_path}/{name}")) for name in ("one", "two"))
    async with one.opened(), two.opened():
        introduce(one=one, two=two)
        two.serve("echo", {"echo": (METHOD, echo)})
        assert await call(one, "a") == Answer("a", 0)


async def test_a_message_that_is_none_ends_the_stream_and_nothing_else() -> None:
    import grpc
    from chat_server.rpc.frames import METHOD as PATH

    async with two_nodes() as (one, two):
        two.serve("echo", {"echo": (METHOD, echo)})
        async with grpc.aio.insecure_channel(two.address) as channel:
            stream: Any = channel.stream_stream(PATH)()
            await stream.write(b"nonsense")
            with pytest.raises(grpc.RpcError, match="not a message of calls"):
                await stream.read()
        assert await call(one, "a") == Answer("a", 0)


def test_the_house_starts_without_grpc() -> None:
    """It is an extra, and takes a fifth of a second to import."""
    script = "import sys, chat_server.plugin, chat_server.rpc.settings; sys.exit('grpc' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_a_link_has_no_task_before_its_first_call() -> None:
    from chat_server.rpc.settings import Trust

    assert Link("two", "127.0.0.1:1", Trust(), GrpcRpcSettings())._task is None


def test_a_wildcard_is_no_address_to_call() -> None:
    for bound in ("0.0.0.0:7000", "[::]:7000"):
        with pytest.raises(SetupError, match="Set advertise"):
            reached_at(GrpcRpcSettings(address=bound), bound)
        assert reached_at(GrpcRpcSettings(address=bound, advertise="10.0.0.1:7000"), bound) == "10.0.0.1:7000"
    for bound in ("127.0.0.1:7000", "unix:/run/chat.sock"):
        assert reached_at(GrpcRpcSettings(address=bound), bound) == bound


async def test_what_a_kind_of_error_carries_crosses_and_clients_are_not_told_it() -> None:
    async def refuse(ask: Ask) -> Answer:
        raise LoginEnded("This device was logged out.", close_code=4409)

    async with two_nodes() as (one, two):
        two.serve("echo", {"echo": (METHOD, refuse)})
        with pytest.raises(LoginEnded, match="logged out") as caught:
            await one.call("echo", "echo", Ask(""), METHOD, deadline=20, node="two")
        assert (caught.value.close_code, caught.value.field) == (4409, "token")
        assert set(caught.value.as_dict()) == {"code", "message", "field"}


def test_an_error_of_a_kind_that_is_unknown_here_is_the_plain_one_of_its_code() -> None:
    body = {"code": "not_authenticated", "message": "Later.", "kind": "OfALaterRelease", "carried": {"a": 1}}
    assert type(error_of(body)) is NotAuthenticated
    assert type(error_of({**body, "kind": "LoginEnded"})) is NotAuthenticated, "without what it needs"
    assert type(error_of({"code": "of_a_later_release"})) is Unavailable
