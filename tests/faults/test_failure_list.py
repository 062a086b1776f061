"""The failure list of the delivery design, one test a row: each is a defect that some shipped system had."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import sqlite3
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from chat_common.client import Backoff, ChatClient, MessageReceived, StartedOver, Welcomed, connect, dev_login, post
from chat_common.clock import SystemClock
from chat_common.errors import ChatError, Unavailable
from chat_common.hookspecs import hookimpl
from chat_common.memory.push import MemoryPush
from chat_common.ports.push import PushProvider
from chat_common.protocol.frames import Beat, Device, Error, Lagged, Push, Resume
from chat_common.records import Backend, Caller, Context, Interceptor
from chat_common.wire import OtherText, SubmitMessage
from chat_server.server import Server as ChatServer

from tests.faults.checker import check
from tests.faults.ledger import Killed, Ledger
from tests.faults.reckoning import reckon
from tests.faults.recording import Watched
from tests.faults_proxy import FaultsProxy
from tests.support.raw import raw
from tests.support.serving import in_process
from tests.support.waiting import until
from tests.support.zygote import Zygote


def quick() -> Backoff:
    return Backoff(first=0.02, longest=0.2)


@contextlib.asynccontextmanager
async def person(url: str, name: str, **options: Any) -> AsyncIterator[ChatClient]:
    """A settled client that holds everything."""
    login = await dev_login(url, name)
    async with connect(url, login.token, whole=True, backoff=quick(), **options) as client:
        yield client


def me(client: ChatClient) -> str:
    assert client.state.me is not None
    return client.state.me.user


async def fresh_picture(url: str, name: str) -> dict[str, Any]:
    async with person(url, name, device=Device("fresh", "test")) as client:
        return client.state.picture()


async def group_of(*clients: ChatClient) -> str:
    return (await clients[0].group("group", [me(client) for client in clients[1:]])).conversation


def texts(client: ChatClient, conversation: str) -> list[str]:
    return [m.body["text"] for m in client.state.room(conversation).timeline() if m.kind == "text" and m.body]


@contextlib.asynccontextmanager
async def process(folder: Path, *options: str) -> AsyncIterator[Zygote]:
    server = Zygote(folder / "data", *options)
    await server.open()
    try:
        await server.start()
        yield server
    finally:
        await server.close()


def stored(data: Path, ref: str) -> int | None:
    """The seq under which this ref is committed, as another process reads it from the file."""
    with contextlib.closing(sqlite3.connect(f"file:{data / 'chat.db'}?mode=ro", uri=True, timeout=5)) as database:
        row = database.execute("SELECT seq FROM chat_message WHERE ref = ?", (ref,)).fetchone()
    return None if row is None else int(row[0])


# --- 1 --------------------------------------------------------------------------------------------------------------


async def test_fl01_a_crash_between_commit_and_receipt_leaves_one_message(tmp_path: Path) -> None:
    """kill -9 between commit and receipt; the client retries the ref at once, later, and by another way."""
    async with process(tmp_path) as server, FaultsProxy(("127.0.0.1", server.port)) as proxy:
        login = await dev_login(server.url, "ann")
        url = f"http://127.0.0.1:{proxy.port}"
        async with connect(url, login.token, whole=True, backoff=quick()) as ann:
            room = await group_of(ann)
            proxy.latency = 0.3
            sending = asyncio.create_task(ann.submit(room, "once", ref="the-ref"))
            await until(lambda: stored(server.data, "the-ref") is not None)
            proxy.black_hole = True  # the receipt is on its way, and is not going to arrive
            await server.stop(signal.SIGKILL)
            assert not sending.done()
            proxy.latency, proxy.black_hole = 0.0, False
            proxy.reset()
            await server.start()
            receipt = await asyncio.wait_for(sending, 20)
            assert receipt.seq == stored(server.data, "the-ref")
            params = {"conversation": room, "kind": "text", "body": {"text": "once"}}
            assert await ann.call("submit", params, ref="the-ref") == {**params_of(receipt), "conversation": room}
            by_http = await post(server.url, "submit", params, token=login.token, ref="the-ref")
            assert by_http == params_of(receipt)
            await until(lambda: texts(ann, room) == ["once"])  # the echo may come after the receipt


async def test_fl01_the_ref_is_known_as_long_as_the_message_is_kept(tmp_path: Path) -> None:
    """The retry comes ten minutes, and two days, later, after the server was restarted."""

    class Later(SystemClock):
        ahead = 0.0

        def wall_ms(self) -> int:
            return super().wall_ms() + round(self.ahead * 1000)

    clock = Later()
    params: dict[str, Any] = {"kind": "text", "body": {"text": "once"}}
    receipts: list[Any] = []
    for ahead in (0.0, 600.0, 2 * 86_400.0):
        clock.ahead = ahead
        async with in_process(tmp_path, clock=clock) as (server, _):
            ann = await server.ensure_user("ann")
            if not receipts:
                row = await server.call("group.create", {"name": "g", "members": []}, user=ann.user)
                params["conversation"] = row.conversation
            receipts.append(await server.call("submit", params, user=ann.user, ref="the-ref"))
            history = await server.call("history", {"conversation": params["conversation"]}, user=ann.user)
            assert sum(message.kind == "text" for message in history.messages) == 1
    assert receipts[0] == receipts[1] == receipts[2]


def params_of(receipt: Any) -> dict[str, Any]:
    return {name: getattr(receipt, name) for name in ("conversation", "seq", "rev", "time")}


# --- 2 --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [1, 50, 100, 128, 200, 256, 500, 1024])
async def test_fl02_a_burst_across_an_internal_limit_is_acked_stored_and_readable(tmp_path: Path, limit: int) -> None:
    """Bursts of every internal batch limit ±1 into one conversation: acked = stored = readable."""
    async with in_process(tmp_path) as (_, url), person(url, "ann") as ann, person(url, "bob") as bob:
        room = await group_of(ann, bob)
        said: list[str] = []
        for size in (limit - 1, limit, limit + 1):
            burst = [f"{size}-{n}" for n in range(size)]
            params = [{"conversation": room, "kind": "text", "body": {"text": text}} for text in burst]
            receipts = await asyncio.gather(*(ann.call("submit", each) for each in params))
            said += burst
            assert [receipt["seq"] for receipt in receipts] == sorted(receipt["seq"] for receipt in receipts)
        await until(lambda: min(len(texts(bob, room)), len(texts(ann, room))) >= len(said), 30)
        assert texts(bob, room) == texts(ann, room) == said
        async with person(url, "bob", device=Device("fresh", "test")) as fresh:
            assert texts(fresh, room) == said


# --- 4 --------------------------------------------------------------------------------------------------------------


async def command(*words: str) -> str:
    """A subcommand of ``chat-server``; what it prints."""
    script = Path(sys.executable).with_name("chat-server")
    process = await asyncio.create_subprocess_exec(
        str(script), *words, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, output.decode()
    return output.decode()


async def test_fl04_a_store_restored_from_a_backup_under_load_begins_a_new_epoch(tmp_path: Path) -> None:
    """New epoch, clients start over, no seq reused under one epoch, what was promised before the backup is there."""
    backup = tmp_path / "backup.db"
    seen: dict[tuple[str, str, int], set[str]] = {}
    async with process(tmp_path) as server, contextlib.AsyncExitStack() as stack:
        names = ["ann", "bob", "eve"]
        people = [await stack.enter_async_context(person(server.url, name)) for name in names]
        room = await group_of(*people)
        started_over: list[str] = []
        for client in people:

            def note(event: MessageReceived, client: ChatClient = client) -> None:
                key = (client.state.epoch or "", event.message.conversation, event.message.seq)
                seen.setdefault(key, set()).add(event.message.ref)

            client.on(MessageReceived, note)
            client.on(StartedOver, lambda event: started_over.append(event.epoch))
        promised: list[tuple[int, str]] = []

        async def talk(client: ChatClient, count: int) -> None:
            for n in range(count):
                ref = f"{me(client)}-{len(promised)}-{n}"
                receipt = await client.submit(room, ref, ref=ref[:64])
                promised.append((receipt.seq, ref[:64]))

        quiet = asyncio.Event()

        async def talk_on() -> None:
            while not quiet.is_set():
                await asyncio.gather(*(talk(client, 3) for client in people))

        await asyncio.gather(*(talk(client, 20) for client in people))
        before = list(promised)
        talking = asyncio.create_task(talk_on())
        await command("backup", str(backup), "--data", str(server.data))
        await asyncio.gather(*(talk(client, 10) for client in people))
        quiet.set()
        await talking
        first_epoch = people[0].state.epoch
        await server.stop(signal.SIGKILL)
        assert "the new epoch is" in await command("restore", str(backup), "--data", str(server.data))
        await server.start()
        await until(lambda: len(started_over) == len(people), 30)
        await asyncio.gather(*(talk(client, 20) for client in people))
        for client, name in zip(people, names, strict=True):
            await client.settled()
            assert client.state.epoch not in (None, first_epoch)
            await until_equal(server.url, client, name)
        kept = {message.seq: message.ref for message in people[0].state.room(room).timeline()}
        assert [entry for entry in before if kept.get(entry[0]) != entry[1]] == []
        assert len(kept) < len(promised)  # something was lost with the restore, or the test tests nothing
    assert [key for key, refs in seen.items() if len(refs) > 1] == []
    assert {epoch for epoch, _, _ in seen} == {first_epoch, *started_over}


async def until_equal(url: str, client: ChatClient, name: str, patience: float = 15.0) -> None:
    """The client becomes equal to a fresh one by itself."""
    end = asyncio.get_running_loop().time() + patience
    while client.state.picture() != (fresh := await fresh_picture(url, name)):
        if asyncio.get_running_loop().time() > end:
            assert client.state.picture() == fresh
        await asyncio.sleep(0.1)


# --- 5 --------------------------------------------------------------------------------------------------------------


async def test_fl05_no_reader_ever_skips_a_number(tmp_path: Path) -> None:
    """Writers compete, and one holds the store for a while: whoever reads n+1 has been able to read n."""
    async with process(tmp_path) as server, person(server.url, "ann") as ann, person(server.url, "bob") as bob:
        room = await group_of(ann, bob)
        done = asyncio.Event()
        reads = 0

        async def read(client: ChatClient) -> None:
            nonlocal reads
            after, rev = 0, 0
            while not done.is_set():
                page = await client.call("history", {"conversation": room, "after": after, "limit": 100})
                seqs = [message["seq"] for message in page["messages"]]
                assert seqs == list(range(after + 1, after + 1 + len(seqs)))
                after = seqs[-1] if seqs else after
                synced = await client.call(
                    "sync", {"epoch": client.state.epoch, "conversation": room, "rev": rev, "limit": 100}
                )
                new = sorted(message["seq"] for message in synced["messages"])
                assert new == list(range(new[0], new[0] + len(new))) if new else True
                rev = synced["rev"]
                reads += 1

        async def hold() -> None:
            """Another program takes the store's write lock for longer than a batch lasts."""
            with contextlib.closing(
                sqlite3.connect(server.data / "chat.db", timeout=10, isolation_level=None)
            ) as other:
                other.execute("BEGIN IMMEDIATE")
                await asyncio.sleep(0.5)
                other.execute("COMMIT")

        readers = [asyncio.create_task(read(client)) for client in (ann, bob)]
        params = {"conversation": room, "kind": "text", "body": {"text": "x"}}
        for _ in range(4):
            receipts = asyncio.gather(*(client.call("submit", params) for client in (ann, bob) for _ in range(40)))
            await hold()
            seqs = [receipt["seq"] for receipt in await receipts]
            assert len(set(seqs)) == 80
        done.set()
        await asyncio.gather(*readers)
        assert reads > 10
        head = ann.state.room(room).timeline()[-1].seq
        assert sorted(ann.state.room(room).messages) == list(range(1, head + 1))


# --- 7 --------------------------------------------------------------------------------------------------------------

SHORT: dict[str, dict[str, Any]] = {
    "gateway": {"heartbeat": 1.0, "ack_timeout": 1.0, "grace": 0.3, "lease": 1.0, "resume_for": 20.0}
}


class Phones(MemoryPush):
    """A plugin: a push provider that remembers what it was told."""

    @hookimpl
    def chat_backends(self) -> list[Backend]:
        @contextlib.asynccontextmanager
        async def opened(context: Context) -> AsyncIterator[PushProvider]:
            yield self

        return [Backend(PushProvider, "phones", opened, default=True)]


@pytest.mark.parametrize("then", ["resume", "new login", "nothing"])
async def test_fl07_a_half_open_socket_loses_and_doubles_nothing(tmp_path: Path, then: str) -> None:
    """No FIN, while messages arrive; then resume, or a new login, or nothing: then the offline push is fired."""
    phones = Phones()
    settings = {**SHORT, "fanout": {"push_delay": 1.0}}
    async with (
        in_process(tmp_path, plugins=[phones], settings=settings) as (_, url),
        FaultsProxy(("127.0.0.1", int(url.rsplit(":", 1)[1]))) as proxy,
        person(url, "ann") as ann,
    ):
        login = await dev_login(url, "bob")
        through = f"http://127.0.0.1:{proxy.port}"
        async with ChatClient(through, login.token, device=Device("phone", "test"), whole=True, backoff=quick()) as bob:
            await bob.settled()
            heard: list[int] = []
            bob.on(MessageReceived, lambda event: heard.append(event.message.seq))
            await bob.call("push.subscribe", {"provider": "phones", "address": {}})
            room = (await ann.direct(login.user.user)).conversation
            await ann.submit(room, "before")
            await until(lambda: heard == [1])
            proxy.black_hole = True
            for n in range(5):
                await ann.submit(room, f"into the hole {n}")
            if then == "resume":
                proxy.black_hole = False
                await until(lambda: len(heard) == 6, 20)
            elif then == "new login":
                async with person(url, "bob", device=Device("laptop", "test")) as laptop:
                    assert texts(laptop, room) == ["before", *(f"into the hole {n}" for n in range(5))]
                proxy.black_hole = False
                await until(lambda: len(heard) == 6, 20)
            else:
                await until(lambda: any(note.seq == 6 for _, note in phones.sent), 30)
                assert {(note.user, note.conversation) for _, note in phones.sent} == {(login.user.user, room)}
                proxy.black_hole = False
                await until(lambda: len(heard) == 6, 20)
            assert heard == [1, 2, 3, 4, 5, 6]
            await until_equal(url, bob, "bob")


# --- 8 --------------------------------------------------------------------------------------------------------------


async def talkers(url: str) -> tuple[str, str, str]:
    """(ann's token, bob's token, their conversation)."""
    ann, bob = await dev_login(url, "ann"), await dev_login(url, "bob")
    row = await post(url, "direct.open", {"user": bob.user.user}, token=ann.token, ref="open")
    return ann.token, bob.token, row["conversation"]


async def say(url: str, token: str, room: str, *said: str) -> None:
    for text in said:
        await post(url, "submit", {"conversation": room, "kind": "text", "body": {"text": text}}, token=token, ref=text)


async def test_fl08_resume_having_seen_zero_pushes(tmp_path: Path) -> None:
    """Everything after the welcome is pushed again, each once."""
    async with in_process(tmp_path) as (_, url):
        ann, bob, room = await talkers(url)
        async with raw(url) as first:
            welcome = await first.hello(bob)
            first.abort()
        await say(url, ann, room, "one", "two", "three")
        async with raw(url) as second:
            again = await second.hello(bob, resume=Resume(welcome.session, 0))
            assert (again.resumed, again.session) == (True, welcome.session)
            assert await second.messages(3) == [1, 2, 3]


async def test_fl08_resume_after_pruning_is_refused_and_a_refused_try_harms_nobody(tmp_path: Path) -> None:
    """`received` below what was acknowledged, or above what was sent: `resumed: false`, never a part of it."""
    async with in_process(tmp_path) as (_, url):
        ann, bob, room = await talkers(url)
        async with raw(url) as first:
            welcome = await first.hello(bob)
            await say(url, ann, room, "one", "two", "three")
            await first.messages(3)
            # How many pushes there are is the server's own business (the chat's row may come as well, now or later), so
            # the bounds are taken from what cannot change any more: nothing below an acknowledgement, nothing above
            # more than could ever have been sent.
            acknowledged = first.received
            await first.ack(acknowledged)
            await first.call("user.me")  # answered after the ack was read
            for received in (0, acknowledged - 1, acknowledged + 1000, 2**52):
                async with raw(url) as thief:
                    refused = await thief.hello(bob, resume=Resume(welcome.session, received))
                    assert not refused.resumed
                    assert refused.session != welcome.session
            async with raw(url) as foreigner:
                refused = await foreigner.hello(ann, resume=Resume(welcome.session, acknowledged))
                assert not refused.resumed
            another = (await dev_login(url, "bob", "another")).token
            async with raw(url) as other_device:
                refused = await other_device.hello(another, "another", resume=Resume(welcome.session, acknowledged))
                assert not refused.resumed
            await say(url, ann, room, "four")
            assert await first.messages(1) == [4]
            received = first.received
            first.abort()
        async with raw(url) as second:
            assert (await second.hello(bob, resume=Resume(welcome.session, received))).resumed


async def test_fl08_resume_at_another_node_is_refused_and_sync_brings_everything(tmp_path: Path) -> None:
    """Sessions do not outlive their node; the client syncs."""
    async with process(tmp_path) as server, person(server.url, "ann") as ann, person(server.url, "bob") as bob:
        heard: list[int] = []
        bob.on(MessageReceived, lambda event: heard.append(event.message.seq))
        room = (await ann.direct(me(bob))).conversation
        await ann.submit(room, "one")
        await until(lambda: heard == [1])
        node = bob.session.welcome.node if bob.session.welcome else ""
        await server.stop(signal.SIGKILL)
        await server.start()
        await ann.submit(room, "two")
        await until(lambda: heard == [1, 2])
        assert bob.session.welcome is not None
        assert bob.session.welcome.node != node
        assert not bob.session.welcome.resumed


# --- 9 --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["resume", "new session"])
async def test_fl09_the_clean_up_of_an_old_connection_leaves_the_new_route(tmp_path: Path, how: str) -> None:
    """An old connection dies, late, while the same device has come again: the new one goes on being reached."""
    async with in_process(tmp_path, settings=SHORT) as (_, url):
        ann, bob, room = await talkers(url)
        seq = 0
        async with FaultsProxy(("127.0.0.1", int(url.rsplit(":", 1)[1]))) as proxy:
            for n in range(5):
                proxy.black_hole = False
                async with raw(f"http://127.0.0.1:{proxy.port}") as old, raw(url) as new:
                    welcome = await old.hello(bob, "phone")
                    proxy.black_hole = True
                    resume = Resume(welcome.session, 0) if how == "resume" else None
                    again = await new.hello(bob, "phone", resume=resume)
                    assert again.resumed == (how == "resume")
                    if n % 2:
                        proxy.reset()  # the old one's end is seen now, else by its silence
                    for _ in range(3):
                        await say(url, ann, room, f"message {seq + 1}")
                        seq += 1
                        assert await new.messages(1, timeout=5) == [seq]
                        beat = await new.next(Beat)
                        await new.ack()
                        assert not beat.behind


# --- 11 -------------------------------------------------------------------------------------------------------------


async def test_fl11_a_slow_reader_in_a_lively_group_costs_bounded_memory_and_delays_nobody(tmp_path: Path) -> None:
    """One socket takes nothing: its window and backlog stay within their limits, the others hear everything at once."""
    limits = {"window_bytes": 100_000, "backlog": 256, "backlog_bytes": 300_000}
    async with (
        in_process(tmp_path, settings={"gateway": limits}) as (server, url),
        person(url, "ann") as ann,
        person(url, "bob") as bob,
    ):
        slow_login = await dev_login(url, "slow")
        room = (await ann.group("g", [me(bob), slow_login.user.user])).conversation
        async with raw(url) as slow:
            await slow.hello(slow_login.token)
            (session,) = server.gateway.sessions.index.of((slow_login.user.user,))
            held: list[int] = []
            text = "x" * 2_000
            for _ in range(15):
                params = {"conversation": room, "kind": "text", "body": {"text": text}}
                await asyncio.gather(*(ann.call("submit", params) for _ in range(40)))
                held.append(session.window.held)
            await until(lambda: len(texts(bob, room)) == 600, 20)
            assert max(held) <= limits["window_bytes"] + limits["backlog_bytes"] + 10_000
            assert session.window.in_flight <= server.gateway.node.settings.window
            frame: Push | Lagged | None = None
            while not isinstance(frame, Lagged):
                frame = await slow.next(Push | Lagged)  # type: ignore[arg-type]
                await slow.ack()
        async with person(url, "slow") as awake:
            assert len(texts(awake, room)) == 600
            assert texts(awake, room) == texts(bob, room)


# --- 14 -------------------------------------------------------------------------------------------------------------


class Meddler:
    """A plugin with one interceptor at ``submit`` that does what the test wants."""

    def __init__(self, handler: Callable[[Caller, SubmitMessage], Awaitable[SubmitMessage]], on_error: Any) -> None:
        self.handler = handler
        self.on_error = on_error
        self.calls = 0

    @hookimpl
    def chat_interceptors(self, context: Context) -> list[Interceptor]:
        async def handler(caller: Caller, message: SubmitMessage) -> SubmitMessage:
            if isinstance(message, OtherText):
                return message  # The name of a group passes the same chain.
            self.calls += 1
            return await self.handler(caller, message)

        return [Interceptor("meddler", "submit", handler, timeout=0.2, on_error=self.on_error)]


async def raises(caller: Caller, message: SubmitMessage) -> SubmitMessage:
    raise RuntimeError("a plugin's own fault")


async def hangs(caller: Caller, message: SubmitMessage) -> SubmitMessage:
    await asyncio.Event().wait()
    return message


@pytest.mark.parametrize("handler", [raises, hangs])
@pytest.mark.parametrize("on_error", ["open", "closed"])
async def test_fl14_an_interceptor_that_raises_or_hangs_meets_its_policy(
    tmp_path: Path, handler: Any, on_error: Any
) -> None:
    """Its policy applies, after its timeout; nobody else waits for it."""
    meddler = Meddler(handler, on_error)
    async with in_process(tmp_path, plugins=[meddler]) as (_, url), person(url, "ann") as ann:
        room = await group_of(ann)
        params = {"conversation": room, "kind": "text", "body": {"text": "x"}}
        if on_error == "open":
            assert (await ann.call("submit", params))["seq"] > 0
        else:
            with pytest.raises(Unavailable, match="meddler"):
                await ann.call("submit", params)
        assert meddler.calls == 1
        async with asyncio.timeout(5):
            assert [row["conversation"] for row in (await ann.call("inbox.list"))["inbox"]] == [room]


async def test_fl14_what_a_hook_sends_itself_does_not_pass_it_again(tmp_path: Path) -> None:
    """An interceptor that submits from inside the send hook: once, no recursion."""
    servers: list[ChatServer] = []

    async def echoes(caller: Caller, message: SubmitMessage) -> SubmitMessage:
        params = {"conversation": message.conversation, "kind": "text", "body": {"text": "said by the hook"}}
        await servers[0].call("submit", params, user=caller.user)
        return message

    meddler = Meddler(echoes, "closed")
    async with in_process(tmp_path, plugins=[meddler]) as (server, url), person(url, "ann") as ann:
        servers.append(server)
        room = await group_of(ann)
        await ann.submit(room, "said by ann")
        await until(lambda: len(texts(ann, room)) == 2)
        assert texts(ann, room) == ["said by the hook", "said by ann"]
        assert meddler.calls == 1


# --- 18 -------------------------------------------------------------------------------------------------------------

SPYING: dict[str, dict[str, Any]] = {
    "history": {},
    "sync": {"rev": 0},
    "group.get": {},
    "group.members": {},
    "message.recall": {"seq": 1},
    "message.edit": {"seq": 1, "body": {"text": "mine now"}},
    "message.readers": {"seq": 1},
    "message.search": {"query": "secret"},
    "message.reactions": {"seq": 1},
    "message.react": {"seq": 1, "emoji": "👍", "on": True},
    "read": {"seq": 1},
    "inbox.set": {"muted": True},
    "submit": {"kind": "text", "body": {"text": "let me in"}},
}


@pytest.mark.parametrize("way", ["socket", "http"])
async def test_fl18_a_stranger_reads_and_changes_nothing_and_cannot_tell_what_exists(tmp_path: Path, way: str) -> None:
    """History, previews, member list, recall, read: refused everywhere, as if the conversation did not exist."""
    async with in_process(tmp_path) as (_, url), person(url, "ann") as ann, person(url, "eve") as eve:
        room = await group_of(ann)
        await ann.submit(room, "a secret")
        login = await dev_login(url, "eve")

        async def answer(name: str, params: dict[str, Any]) -> tuple[str, str]:
            with pytest.raises(ChatError) as refused:
                await (eve.call(name, params) if way == "socket" else post(url, name, params, token=login.token))
            return refused.value.code, refused.value.message

        for name, params in SPYING.items():
            epoch = {"epoch": eve.state.epoch} if name == "sync" else {}
            told = await answer(name, {"conversation": room, **params, **epoch})
            assert told == await answer(name, {"conversation": "there-is-none", **params, **epoch})
            assert told[0] == "not_found"
        assert (await eve.call("inbox.list"))["inbox"] == []
        assert eve.state.rooms == {}
        assert texts(ann, room) == ["a secret"]


# --- 19 -------------------------------------------------------------------------------------------------------------


def nested(depth: int) -> Any:
    value: Any = "x"
    for _ in range(depth):
        value = [value]
    return value


async def test_fl19_what_is_malformed_gets_its_answer_and_nobody_else_notices(tmp_path: Path) -> None:
    """A system-only kind, a mention of a non-member, an over-long body, deep JSON: an error that names it."""
    async with (
        in_process(tmp_path) as (_, url),
        person(url, "ann") as ann,
        person(url, "bob") as bob,
        raw(url) as bad,
    ):
        room = await group_of(ann, bob)
        stranger = await dev_login(url, "stranger")
        await bad.hello((await dev_login(url, "bob")).token, "bad")
        text = {"conversation": room, "kind": "text", "body": {"text": "x"}}
        wrong: list[tuple[dict[str, Any], str, int | None]] = [
            ({**text, "kind": "system", "body": {"event": "x", "actor": "y"}}, "kind", None),
            ({**text, "kind": "no-such-kind"}, "kind", None),
            ({**text, "mentions": [stranger.user.user]}, "mentions", None),
            ({**text, "mentions": ["nobody-at-all"]}, "mentions", None),
            ({**text, "body": {"text": "x" * 8193}}, "body.text", 8192),
            ({**text, "body": {"text": ""}}, "body.text", 1),
            ({**text, "body": {"text": " \n "}}, "body.text", None),
            ({**text, "body": {"text": "a\0b"}}, "", None),
            ({**text, "reply_to": 1.0}, "reply_to", None),
            ({"conversation": room, "kind": "text"}, "body", None),
        ]
        answers = []
        for params, field, limit in wrong:
            error = await bad.call("submit", params)
            assert isinstance(error, Error), params
            assert (error.code, error.field or "", error.limit or None) == ("invalid", field, limit), error
            answers.append(error.message)
        assert answers[2] == answers[3]  # a stranger and nobody look alike
        deep = await bad.call("submit", {**text, "body": {"text": nested(40)}})
        assert isinstance(deep, Error)
        assert (deep.code, deep.limit) == ("invalid", 32)
        unknown = await bad.call("no.such.command")
        assert isinstance(unknown, Error)
        assert unknown.code == "invalid"
        await ann.submit(room, "all is well")
        await until(lambda: texts(bob, room) == ["all is well"])


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (b'{"op":"call","ref":"r","command":"submit","params":{"x":"\xff\xfe"}}', 1007),
        (b'{"op":"ping","x":"' + b"x" * 70_000 + b'"}', 1009),
    ],
)
async def test_fl19_a_broken_or_huge_frame_ends_its_connection_alone(tmp_path: Path, message: bytes, code: int) -> None:
    """Invalid UTF-8 → close 1007, a frame above the limit → close 1009; others intact."""
    async with (
        in_process(tmp_path) as (_, url),
        person(url, "ann") as ann,
        person(url, "bob") as bob,
        raw(url) as bad,
    ):
        room = await group_of(ann, bob)
        await bad.hello((await dev_login(url, "bob")).token, "bad")
        await bad.line.send(message)
        assert await bad.closed() == code
        await ann.submit(room, "all is well")
        await until(lambda: texts(bob, room) == ["all is well"])


# --- 21 -------------------------------------------------------------------------------------------------------------


class Stage:
    """ann changes things while bob is away. ``room``: a group of both and cat; ``direct``: ann with bob."""

    def __init__(self, server: ChatServer, **ids: str) -> None:
        self.server = server
        self.ids = ids

    async def do(self, who: str, command: str, **params: Any) -> Any:
        named = {key: self.ids.get(value, value) if isinstance(value, str) else value for key, value in params.items()}
        for name in ("users", "members", "mentions"):
            if name in named:
                named[name] = [self.ids[each] for each in params[name]]
        return await self.server.call(command, named, user=self.ids[who])


CHANGES: dict[str, list[tuple[str, str, dict[str, Any]]]] = {
    "message": [("ann", "submit", {"conversation": "room", "kind": "text", "body": {"text": "new"}})],
    "direct message": [("ann", "submit", {"conversation": "direct", "kind": "text", "body": {"text": "new"}})],
    "own message of another device": [
        ("bob", "submit", {"conversation": "room", "kind": "text", "body": {"text": "mine"}})
    ],
    "mention": [
        ("ann", "submit", {"conversation": "room", "kind": "text", "body": {"text": "@bob"}, "mentions": ["bob"]})
    ],
    "edit": [("ann", "message.edit", {"conversation": "room", "seq": 1, "body": {"text": "edited"}})],
    "recall": [("ann", "message.recall", {"conversation": "room", "seq": 1})],
    "reaction": [("ann", "message.react", {"conversation": "room", "seq": 1, "emoji": "👍", "on": True})],
    "reaction taken back": [("ann", "message.react", {"conversation": "room", "seq": 2, "emoji": "🎉", "on": False})],
    "removal of another": [("ann", "group.kick", {"conversation": "room", "users": ["cat"]})],
    "removal of oneself": [("ann", "group.kick", {"conversation": "room", "users": ["bob"]})],
    "removal and return": [
        ("ann", "group.kick", {"conversation": "room", "users": ["bob"]}),
        ("ann", "submit", {"conversation": "room", "kind": "text", "body": {"text": "behind his back"}}),
        ("ann", "group.kick", {"conversation": "room", "users": ["cat"]}),
        ("ann", "group.invite", {"conversation": "room", "users": ["bob"]}),
    ],
    "newcomer": [("ann", "group.invite", {"conversation": "room", "users": ["dan"]})],
    "leaving of another": [("cat", "group.leave", {"conversation": "room"})],
    "invitation to a new group": [("ann", "group.create", {"name": "another", "members": ["bob"]})],
    "first direct message": [("dan", "direct.open", {"user": "bob"})],
    "role": [("ann", "group.role", {"conversation": "room", "user": "cat", "role": "admin"})],
    "own role": [("ann", "group.role", {"conversation": "room", "user": "bob", "role": "admin"})],
    "muting of a member": [("ann", "group.mute", {"conversation": "room", "user": "cat", "until": 2**50})],
    "muting of all": [("ann", "group.mute", {"conversation": "room", "until": 2**50})],
    "transfer": [("ann", "group.transfer", {"conversation": "room", "user": "bob"})],
    "dissolution": [("ann", "group.dissolve", {"conversation": "room"})],
    "settings of the group": [
        ("ann", "group.update", {"conversation": "room", "name": "renamed", "announcement": "listen"})
    ],
    "own settings": [("bob", "inbox.set", {"conversation": "room", "muted": True, "pinned": True})],
    "own reading": [("bob", "read", {"conversation": "room", "seq": 2})],
    "reading in a direct chat": [("ann", "read", {"conversation": "direct", "seq": 1})],
    "contact request": [("dan", "contact.request", {"user": "bob", "text": "hello"})],
    "contact accepted": [("bob", "contact.accept", {"user": "cat"})],
    "contact removed": [("ann", "contact.remove", {"user": "bob"})],
    "contact blocked": [("bob", "contact.block", {"user": "cat", "on": True})],
    "another name": [("cat", "user.rename", {"name": "catherine"})],
    "own name": [("bob", "user.rename", {"name": "robert"})],
}


@pytest.mark.parametrize("change", CHANGES)
async def test_fl21_a_client_that_was_away_ends_equal_to_a_fresh_one(tmp_path: Path, change: str) -> None:
    """Away during the change, resume refused: after sync its state equals a fresh client's, for every kind of it."""
    settings = {"gateway": {"resume_for": 0.05, "heartbeat": 2.0}}
    async with (
        in_process(tmp_path, settings=settings) as (server, url),
        FaultsProxy(("127.0.0.1", int(url.rsplit(":", 1)[1]))) as proxy,
    ):
        ids = {name: (await dev_login(url, name)).user.user for name in ("ann", "bob", "cat", "dan")}
        stage = Stage(server, **ids)
        row = await stage.do("ann", "group.create", name="group", members=["bob", "cat"])
        stage.ids["room"] = row.conversation
        stage.ids["direct"] = (await stage.do("ann", "direct.open", user="bob")).conversation
        for text in ("one", "two"):
            await stage.do("ann", "submit", conversation="room", kind="text", body={"text": text})
        await stage.do("bob", "submit", conversation="direct", kind="text", body={"text": "hi"})
        await stage.do("ann", "message.react", conversation="room", seq=2, emoji="🎉", on=True)
        await stage.do("cat", "contact.request", user="bob")
        await stage.do("ann", "contact.request", user="bob")
        await stage.do("bob", "contact.accept", user="ann")
        login = await dev_login(url, "bob")
        async with ChatClient(
            f"http://127.0.0.1:{proxy.port}", login.token, device=Device("away", "test"), whole=True, backoff=quick()
        ) as bob:
            await bob.settled()
            before = bob.state.picture()
            assert before == (await fresh_of(url, "bob"))
            await proxy.down()
            await until(lambda: not list(server.gateway.sessions.index.of((ids["bob"],))))
            for who, name, params in CHANGES[change]:
                await stage.do(who, name, **params)
            await proxy.up()
            await until(lambda: bob.connected, 20)
            assert bob.session.welcome is not None
            assert not bob.session.welcome.resumed
            await bob.settled()
            end = asyncio.get_running_loop().time() + 10
            while (after := bob.state.picture()) != (fresh := await fresh_of(url, "bob")):
                if asyncio.get_running_loop().time() > end:
                    assert after == fresh
                await asyncio.sleep(0.1)
            if change not in UNSEEN:
                assert after != before


UNSEEN = {"first direct message"}
"""What bob cannot see: a direct chat appears with its first message."""


async def fresh_of(url: str, name: str) -> dict[str, Any]:
    login = await dev_login(url, name, "fresh")
    async with connect(url, login.token, whole=True, device=Device("fresh", "test")) as client:
        return client.state.picture()


# --- 22 -------------------------------------------------------------------------------------------------------------


def replied(data: Path, ref: str) -> bool:
    """Whether the reply of this ref is committed."""
    with contextlib.closing(sqlite3.connect(f"file:{data / 'chat.db'}?mode=ro", uri=True, timeout=5)) as database:
        row = database.execute("SELECT 1 FROM chat_reply WHERE ref = ?", (ref,)).fetchone()
    return row is not None


@pytest.mark.parametrize(
    ("name", "params", "look"),
    [
        ("user.rename", {"name": "annabel"}, ("user.me", {})),
        ("group.create", {"name": "group", "members": ["BOB"]}, ("inbox.list", {})),
        ("contact.request", {"user": "BOB", "text": "hello"}, ("contact.list", {})),
        ("group.invite", {"conversation": "ROOM", "users": ["BOB"]}, ("group.members", {"conversation": "ROOM"})),
        (
            "message.edit",
            {"conversation": "ROOM", "seq": 1, "body": {"text": "e"}},
            ("history", {"conversation": "ROOM"}),
        ),
    ],
)
async def test_fl22_a_command_whose_reply_is_lost_is_done_once(
    tmp_path: Path, name: str, params: dict[str, Any], look: tuple[str, dict[str, Any]]
) -> None:
    """The reply is lost and the command retried: done once, same reply."""
    async with process(tmp_path) as server, FaultsProxy(("127.0.0.1", server.port)) as proxy:
        ann_login, bob = await dev_login(server.url, "ann"), await dev_login(server.url, "bob")
        async with connect(f"http://127.0.0.1:{proxy.port}", ann_login.token, whole=True, backoff=quick()) as ann:
            room = await group_of(ann)
            await ann.submit(room, "text")

            def filled(value: Any) -> Any:
                if isinstance(value, dict):
                    return {key: filled(each) for key, each in value.items()}
                if isinstance(value, list):
                    return [filled(each) for each in value]
                return {"BOB": bob.user.user, "ROOM": room}.get(value, value) if isinstance(value, str) else value

            proxy.latency = 0.3
            calling = asyncio.create_task(ann.call(name, filled(params), ref="the-ref"))
            await until(lambda: replied(server.data, "the-ref"))
            proxy.black_hole = True
            await server.stop(signal.SIGKILL)
            assert not calling.done()
            proxy.latency, proxy.black_hole = 0.0, False
            proxy.reset()
            await server.start()
            first = await asyncio.wait_for(calling, 20)
            await ann.settled()
            seen = await ann.call(look[0], filled(look[1]))
            version = (await ann.call("inbox.list"))["version"]
            again = await ann.call(name, filled(params), ref="the-ref")
            by_http = await post(server.url, name, filled(params), token=ann_login.token, ref="the-ref")
            assert first == again == by_http
            assert await ann.call(look[0], filled(look[1])) == seen
            assert (await ann.call("inbox.list"))["version"] == version
            with pytest.raises(ChatError) as conflict:
                await ann.call("user.rename", {"name": "another request"}, ref="the-ref")
            assert conflict.value.code == "ref_conflict"


# --- 23 -------------------------------------------------------------------------------------------------------------


async def test_fl23_who_was_out_never_sees_what_was_said_meanwhile(tmp_path: Path) -> None:
    """Removed and re-added while messages flow; the server is killed, so that fan-out is replayed later."""
    dice, ledger = random.Random(23), Ledger()
    async with process(tmp_path) as server, contextlib.AsyncExitStack() as stack:
        people: list[Watched] = []
        tokens: dict[str, str] = {}
        for name in ("ann", "bob", "eve"):
            login = await dev_login(server.url, name)
            # A token belongs to its device, and the fresh client that is compared with is another one.
            tokens[login.user.user] = (await dev_login(server.url, name, "fresh")).token
            people.append(Watched(ledger, server.url, name, login.user.user, login.token))
            await stack.enter_async_context(people[-1].client)
            await people[-1].client.settled()
        ann, bob, eve = people
        began = ledger.now()
        room = (await ann.client.group("g", [bob.user, eve.user])).conversation
        ledger.move(began, [each.user for each in people], room, "in")
        quiet = asyncio.Event()

        async def talk(person: Watched) -> None:
            count = 0
            while not quiet.is_set():
                count += 1
                await person.say(room, f"{count} of {person.name}", f"{person.name}-{count}", queued=True)

        talking = [asyncio.create_task(talk(person)) for person in (ann, bob)]
        for n in range(16):
            await ann.move("group.kick", room, [eve.user], "out")
            await asyncio.sleep(dice.uniform(0.0, 0.05))
            if n % 5 == 4:
                await server.stop(signal.SIGKILL)
                ledger.killed.append(Killed(ledger.now(), 0))
                await server.start()
            await ann.move("group.invite", room, [eve.user], "in")
            await asyncio.sleep(dice.uniform(0.0, 0.05))
        quiet.set()
        await asyncio.gather(*talking)
        outcome = await reckon(server.url, people, {room: ann.user}, tokens=tokens.__getitem__)
    assert check(ledger, outcome) == []
    spans = outcome.rooms[room].members[eve.user].spans
    unseen = [seq for seq in outcome.rooms[room].messages if not outcome.rooms[room].sees(eve.user, seq)]
    assert len(spans) > 4
    assert unseen, "nothing was said while eve was out, so this run proves nothing"


# --- the gap that no push shows ---------------------------------------------------------------------------------------


async def test_a_gap_that_the_pushes_left_is_healed_within_one_heartbeat(tmp_path: Path) -> None:
    """5 % of the deliveries to the node are lost; beat and sync heal it, without a new connection."""
    dice, dropped = random.Random(5), 0
    heartbeat, grace = 3.0, 0.5

    def drop(delivery: Any) -> bool:
        nonlocal dropped
        lost = dice.random() < 0.05
        dropped += int(lost)
        return lost

    settings = {"gateway": {"heartbeat": heartbeat, "grace": grace}}
    async with (
        in_process(tmp_path, settings=settings, drop=drop) as (_, url),
        person(url, "ann") as ann,
        person(url, "bob") as bob,
    ):
        room = await group_of(ann, bob)
        welcomes: list[object] = []
        bob.on(Welcomed, welcomes.append)
        for n in range(100):
            await ann.submit(room, str(n))
        while not dropped or bob.state.room(room).messages.keys() >= ann.state.room(room).messages.keys():
            await ann.submit(room, "one more")  # until the last ones are among the lost
        last = (await ann.submit(room, "the last")).seq
        await until(lambda: {last - 1, last} <= bob.state.room(room).messages.keys(), heartbeat + grace + 1.5)
        await until(lambda: {last - 1, last} <= ann.state.room(room).messages.keys(), heartbeat + grace + 1.5)
        assert texts(bob, room) == texts(ann, room)
        assert dropped > 2
        assert welcomes == []
