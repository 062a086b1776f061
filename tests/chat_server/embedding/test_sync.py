"""The server for threads; and what other threads and loops are told that do not use it."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from chat_common.errors import Invalid, NotFound, Unavailable
from chat_common.settings import SetupError
from chat_server import Server
from chat_server.embedding.home import NotOpen, WrongLoop

from tests.chat_server.house import fresh_sqlite


def text(conversation: str, said: str) -> dict[str, Any]:
    return {"conversation": conversation, "kind": "text", "body": {"text": said}}


async def test_threads_call_as_the_loop_does(chat: Server) -> None:
    sync = chat.sync

    def work(number: int) -> int:
        ann, bob = sync.ensure_user("ann", "Ann"), sync.ensure_user("bob", "Bob")
        room = sync.call("direct.open", {"user": bob.user}, user=ann.user).conversation
        assert sync.issue_token(ann.user)
        return sync.submit(text(room, f"from thread {number}"), user=ann.user, ref=f"ref-{number % 4}").seq

    with ThreadPoolExecutor(4) as threads:
        loop = asyncio.get_running_loop()
        seqs = await asyncio.gather(*(loop.run_in_executor(threads, work, number) for number in range(4)))
        assert sorted(seqs) == [1, 2, 3, 4]
        again = await asyncio.gather(*(loop.run_in_executor(threads, work, number) for number in range(4)))
        assert again == seqs


async def test_errors_reach_the_thread_as_they_are(chat: Server) -> None:
    with pytest.raises(NotFound, match="ensure_user makes one"):
        await asyncio.to_thread(chat.sync.submit, text("room", "hi"), user="42")
    ann = await chat.ensure_user("ann")
    with pytest.raises(Invalid):
        await asyncio.to_thread(chat.sync.call, "direct.open", {}, user=ann.user)


async def test_another_loop_is_told_where_to_go_and_does_no_damage(chat: Server) -> None:
    async def elsewhere() -> None:
        for attempt in (chat.call("user.me"), chat.ensure_user("42"), chat.issue_token("42")):
            with pytest.raises(WrongLoop, match=r"server\.sync"):
                await attempt

    await asyncio.to_thread(asyncio.run, elsewhere())
    with pytest.raises(WrongLoop, match="await the method"):
        chat.sync.call("user.me")
    ann = await chat.ensure_user("ann", "Ann")
    assert (await chat.call("user.rename", {"name": "Anna"}, user=ann.user)).user.name == "Anna"


async def test_a_thread_waits_no_longer_than_it_may(chat: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(*_: Any, **__: Any) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(chat, "call", never)
    chat.sync.timeout = 0.01
    with pytest.raises(Unavailable, match=r"within 0\.01 s"):
        await asyncio.to_thread(chat.sync.call, "user.me")


def test_a_process_without_a_loop_opens_it_on_a_thread(sqlite_template: Path, tmp_path: Path) -> None:
    with fresh_sqlite(sqlite_template, tmp_path / "data") as store:
        chat = Server(settings={"server": {"data": str(store.folder)}})
        with pytest.raises(NotOpen):
            chat.sync.call("user.me")
        for _ in range(2):
            with chat.sync as sync:
                assert sync.ensure_user("42", "Ann").name == "Ann"
            with pytest.raises(NotOpen):
                sync.ensure_user("42")
        other = Server(settings={"server": {"data": str(store.folder)}})
        with other.sync, pytest.raises(SetupError, match="is using the data folder"):
            chat.sync.__enter__()
