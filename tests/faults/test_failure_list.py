"""The failure list of the delivery design, one test a row: each is a defect that some shipped system had."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sqlite3
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from chat_common.client import Backoff, ChatClient, MessageReceived, StartedOver, connect, dev_login, post
from chat_common.clock import SystemClock
from chat_common.hookspecs import hookimpl
from chat_common.ports.push import PushNote, PushProvider
from chat_common.protocol.frames import Beat, Device, Push, Resume
from chat_common.records import Backend, Context

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
            assert texts(ann, room) == ["once"]


async def test_fl01_the_ref_is_known_as_long_as_the_message_is_kept(tmp_path: Path) -> None:
    """The retry comes ten minutes, and two days, later, after the server was restarted."""

    class Later(SystemClock):
        ahead = 0.0

        def wall_ms(self) -> int:
            return super().wall_ms() + round(self.ahead * 1000)

    clock = Later()
    params: dict[str, Any] = {"kind": "text", "body": {"text": "once"}}
    receipts = []
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

        await asyncio.gather(*(talk(client, 20) for client in people))
        before = list(promised)
        talking = asyncio.gather(*(talk(client, 150) for client in people))
        await command("backup", str(backup), "--data", str(server.data))
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


class Phones:
    """A plugin: a push provider that remembers what it was told."""

    def __init__(self) -> None:
        self.notes: list[PushNote] = []

    async def push(self, note: PushNote) -> None:
        self.notes.append(note)

    @hookimpl
    def chat_backends(self) -> list[Backend]:
        @contextlib.asynccontextmanager
        async def opened(context: Context) -> AsyncIterator[PushProvider]:
            yield self

        return [Backend(PushProvider, "phones", opened)]


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
                await until(lambda: any(note.seq == 6 for note in phones.notes), 30)
                assert {(note.user, note.conversation) for note in phones.notes} == {(login.user.user, room)}
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
            pushes = 3 + sum(isinstance(frame, Push) for frame in first.frames)
            await first.ack(pushes)
            await first.call("user.me")  # answered after the ack was read
            for received in (0, pushes - 1, pushes + 1, 2**52):
                async with raw(url) as thief:
                    refused = await thief.hello(bob, resume=Resume(welcome.session, received))
                    assert not refused.resumed
                    assert refused.session != welcome.session
            async with raw(url) as foreigner:
                refused = await foreigner.hello(ann, resume=Resume(welcome.session, pushes))
                assert not refused.resumed
            async with raw(url) as other_device:
                refused = await other_device.hello(bob, "another", resume=Resume(welcome.session, pushes))
                assert not refused.resumed
            await say(url, ann, room, "four")
            assert await first.messages(1) == [4]
            first.abort()
        async with raw(url) as second:
            assert (await second.hello(bob, resume=Resume(welcome.session, pushes + 1))).resumed


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
                        await new.ack(0)
                        assert not beat.behind
