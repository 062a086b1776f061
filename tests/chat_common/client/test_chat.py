"""The asyncio client against a real socket that is cut, silent, gone, or final."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from chat_common.client import (
    Backoff,
    ChatClient,
    Ended,
    MessageReceived,
    MessageRefused,
    MessageSent,
    SendQueue,
    Welcomed,
    connect,
)
from chat_common.clock import ManualClock
from chat_common.errors import Invalid, NotAuthenticated, NotFound, Unavailable
from chat_common.protocol.frames import Bye

from tests.support.reference_server import ReferenceServer
from tests.support.reference_web import ReferenceWeb, served
from tests.support.waiting import until

QUICK: dict[str, Any] = {"whole": True}


def quick() -> Backoff:
    return Backoff(first=0.01, longest=0.05)


@pytest.fixture
async def web() -> AsyncIterator[ReferenceWeb]:
    async with served(ReferenceServer()) as web:
        yield web


async def group(*clients: ChatClient) -> str:
    members = [client.state.me.user for client in clients[1:] if client.state.me]
    return (await clients[0].group("g", members)).conversation


async def first(client: ChatClient, count: int) -> list[int]:
    """The seqs of the next messages received."""
    found: list[int] = []
    async for event in client.events():
        if isinstance(event, MessageReceived):
            found.append(event.message.seq)
            if len(found) == count:
                break
    return found


async def test_two_clients_talk(web: ReferenceWeb) -> None:
    async with connect(web.url, "ann", **QUICK) as ann, connect(web.url, "bob", **QUICK) as bob:
        name = await group(ann, bob)
        heard = asyncio.create_task(first(bob, 2))
        await asyncio.sleep(0)
        assert (await ann.submit(name, "one")).seq == 1
        assert (await ann.submit(name, kind="text", body={"text": "two"})).seq == 2
        assert await asyncio.wait_for(heard, 5) == [1, 2]
        assert [m.body["text"] for m in await bob.history(name)] == ["one", "two"]
        assert [row.conversation for row in bob.state.inbox()] == [name]


async def test_errors_are_raised_as_their_classes(web: ReferenceWeb) -> None:
    async with connect(web.url, "ann", **QUICK) as ann:
        with pytest.raises(NotFound):
            await ann.history("nowhere")
        refused: list[MessageRefused] = []
        ann.on(MessageRefused, refused.append)
        with pytest.raises(NotFound):
            await ann.submit("nowhere", "x")
        assert refused[0].outgoing.conversation == "nowhere"
        assert ann.pending == []
        with pytest.raises(Invalid):
            await ann.submit("nowhere")


async def test_it_comes_back_resumes_and_repeats(web: ReferenceWeb) -> None:
    async with connect(web.url, "ann", backoff=quick(), **QUICK) as ann:
        name = await group(ann)
        welcomes: list[bool] = []
        ann.on(Welcomed, lambda event: welcomes.append(event.welcome.resumed))
        web.mute = True
        sends = [asyncio.create_task(ann.submit(name, str(n), ref=f"r{n}")) for n in range(3)]
        await until(lambda: bool(web.server.rooms[name].rows))
        web.mute = False
        await web.cut()
        receipts = await asyncio.wait_for(asyncio.gather(*sends), 5)
        assert [receipt.seq for receipt in receipts] == [1, 2, 3]
        assert [row["ref"] for row in web.server.rooms[name].rows] == ["r0", "r1", "r2"]
        assert welcomes[0] is True
        assert sorted(ann.state.rooms[name].messages) == [1, 2, 3]


async def test_a_server_that_was_away_is_waited_for(unused_tcp_port: int) -> None:
    server = ReferenceServer()
    async with ChatClient(f"http://127.0.0.1:{unused_tcp_port}", "ann", backoff=quick(), **QUICK) as ann:
        call = asyncio.create_task(ann.group("g", []))
        async with served(server, unused_tcp_port):
            name = (await asyncio.wait_for(call, 5)).conversation
        waiting = asyncio.create_task(ann.submit(name, "while it is away"))
        server.restart()
        async with served(server, unused_tcp_port):
            assert (await asyncio.wait_for(waiting, 5)).seq == 1
            await asyncio.wait_for(ann.settled(), 5)
            assert sorted(ann.state.rooms[name].messages) == [1]


async def test_silence_is_noticed_and_the_line_given_up(web: ReferenceWeb) -> None:
    clock = ManualClock()
    async with connect(web.url, "ann", backoff=quick(), clock=clock, **QUICK) as ann:
        welcomes: list[Welcomed] = []
        ann.on(Welcomed, welcomes.append)
        clock.advance(46)
        ann.note("typing", {})  # any reason to look at the clock
        await until(lambda: bool(welcomes))
        assert welcomes[0].welcome.resumed


async def test_the_final_word_ends_it(web: ReferenceWeb) -> None:
    async with connect(web.url, "ann", **QUICK) as ann:
        events = ann.events()
        web.mute = True
        call = asyncio.create_task(ann.call("inbox.list"))
        sending = asyncio.create_task(ann.submit("c1", "never answered"))
        await until(lambda: {command for _, command in web.server.calls} >= {"inbox.list", "submit"})
        await web.end(Bye(4401, "logged out", "never"))
        with pytest.raises(NotAuthenticated):
            await call
        with pytest.raises(NotAuthenticated):
            await sending
        assert isinstance([event async for event in events][-1], Ended)
        with pytest.raises(NotAuthenticated):
            await ann.call("inbox.list")
        with pytest.raises(NotAuthenticated):
            await ann.settled()
        assert [outgoing.conversation for outgoing in ann.pending] == ["c1"]


async def test_passing_errors_keep_the_order(web: ReferenceWeb) -> None:
    async with connect(web.url, "ann", **QUICK) as ann:
        name = await group(ann)
        submit, tries = web.server.submit, 0

        def busy(user: str, ref: str, params: dict[str, Any]) -> dict[str, Any]:
            nonlocal tries
            tries += 1
            if tries == 1:
                raise Unavailable("busy")
            return submit(user, ref, params)

        web.server.submit = busy  # type: ignore[method-assign]
        receipts = await asyncio.gather(*(ann.submit(name, str(n)) for n in range(3)))
        assert [receipt.seq for receipt in receipts] == [1, 2, 3]


async def test_a_cancelled_call_is_forgotten(web: ReferenceWeb) -> None:
    async with connect(web.url, "ann", **QUICK) as ann:
        web.mute = True
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(ann.call("inbox.list", ref="r"), 0.01)
        assert not ann.session.open_calls


async def test_of_two_who_wait_for_one_ref_one_may_go(web: ReferenceWeb) -> None:
    async with connect(web.url, "ann", **QUICK) as ann:
        web.mute = True
        one, other = (asyncio.create_task(ann.call("inbox.list", ref="r")) for _ in range(2))
        await until(lambda: "r" in ann.session.open_calls)
        one.cancel()
        await asyncio.wait([one])
        web.mute = False
        await web.cut()
        assert (await asyncio.wait_for(other, 5))["inbox"] == []


async def test_queued_messages_survive_the_process(web: ReferenceWeb, tmp_path: Path) -> None:
    async with connect(web.url, "ann", **QUICK) as ann:
        name = await group(ann)
    path = tmp_path / "queue.jsonl"
    async with ChatClient("http://127.0.0.1:9", "ann", queue=SendQueue(path)) as ann:
        waiting = [asyncio.create_task(ann.submit(name, text)) for text in ("one", "two")]
        await asyncio.sleep(0)
    for task in waiting:
        task.cancel()
    sent: list[MessageSent] = []
    async with ChatClient(web.url, "ann", queue=SendQueue(path)) as ann:
        ann.on(MessageSent, sent.append)
        await until(lambda: len(sent) == 2)
    assert [event.receipt.seq for event in sent] == [1, 2]
    assert [row["body"]["text"] for row in web.server.rooms[name].rows] == ["one", "two"]
    assert len(SendQueue(path)) == 0


async def test_a_handler_that_fails_harms_nobody(web: ReferenceWeb, caplog: pytest.LogCaptureFixture) -> None:
    async with connect(web.url, "ann", **QUICK) as ann:

        def fail(event: MessageReceived) -> None:
            raise RuntimeError("boom")

        ann.on(MessageReceived, fail)
        name = await group(ann)
        heard = asyncio.create_task(first(ann, 1))
        await asyncio.sleep(0)
        await ann.submit(name, "x")
        assert await asyncio.wait_for(heard, 5) == [1]
    assert "a handler of MessageReceived failed" in caplog.text


async def test_a_coroutine_function_hears_one_event_after_the_other(web: ReferenceWeb) -> None:
    heard: list[int] = []
    running = 0

    async def slow(event: MessageReceived) -> None:
        nonlocal running
        running += 1
        assert running == 1
        await asyncio.sleep(0)
        running -= 1
        heard.append(event.message.seq)
        if event.message.seq == 2:
            raise RuntimeError("boom")

    async with connect(web.url, "ann", **QUICK) as ann:
        end = ann.on(MessageReceived, slow)
        name = await group(ann)
        for n in range(4):
            await ann.submit(name, str(n))
        await until(lambda: heard == [1, 2, 3, 4])
        end()
        end()  # once more is no error
        await ann.submit(name, "not heard")
    assert heard == [1, 2, 3, 4]


async def test_connect_gives_up_in_time_and_says_why(unused_tcp_port: int, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(Unavailable, match="Connect call failed"):
        async with connect(f"http://127.0.0.1:{unused_tcp_port}", "ann", timeout=0.2, backoff=quick()):
            pass
    warnings = [record for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 1  # of several tries
    assert "trying again" in warnings[0].getMessage()


async def test_a_server_that_is_no_chat_is_named_as_such(unused_tcp_port: int) -> None:
    async def other(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(other, "127.0.0.1", unused_tcp_port):
        with pytest.raises(Unavailable, match="404"):
            async with connect(f"http://127.0.0.1:{unused_tcp_port}", "ann", timeout=0.5, backoff=quick()):
                pass


async def test_an_address_without_a_scheme_is_refused_at_once() -> None:
    with pytest.raises(Invalid, match="give http"):
        ChatClient("127.0.0.1:8080", "ann")


async def test_memory_holds_the_newest_messages_and_history_brings_the_others(web: ReferenceWeb) -> None:
    async with connect(web.url, "ann", **QUICK) as ann, connect(web.url, "bob", keep=16) as bob:
        name = await group(ann, bob)
        heard = asyncio.create_task(first(bob, 50))
        await asyncio.sleep(0)
        for n in range(50):
            await ann.submit(name, str(n))
        assert await asyncio.wait_for(heard, 5) == list(range(1, 51))
        held = sorted(bob.state.rooms[name].messages)
        assert 16 <= len(held) <= 18
        assert held[-1] == 50
        page = await bob.history(name, before=held[0], limit=5)
        assert [message.seq for message in page] == list(range(held[0] - 5, held[0]))
        assert min(bob.state.rooms[name].messages) == held[0] - 5
        assert bob.session.gaps == 0
