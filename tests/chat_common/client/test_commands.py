"""Commands as methods, against the whole server: their results are records."""

from __future__ import annotations

from pathlib import Path

import pytest
from chat_common.client import ReadState, connect, dev_login
from chat_common.errors import NotFound
from chat_common.wire import Message, User
from msgspec import UNSET

from tests.support.serving import in_process


async def test_each_is_done_and_gives_its_record(tmp_path: Path) -> None:
    async with in_process(tmp_path) as (_, url):
        logins = [await dev_login(url, name) for name in ("ann", "bob")]
        async with connect(url, logins[0].token) as ann, connect(url, logins[1].token) as bob:
            chat = (await ann.direct(logins[1].user.user)).conversation
            receipt = await ann.submit(chat, "hello")
            edited = await ann.edit(chat, receipt.seq, "hello bob")
            assert isinstance(edited, Message)
            assert edited.body == {"text": "hello bob"}
            reacted = await bob.react(chat, receipt.seq, "👍")
            assert reacted.reactions is not UNSET
            assert [(each.emoji, each.count) for each in reacted.reactions] == [("👍", 1)]
            assert await bob.read(chat, receipt.seq) == ReadState(read=1, unread=0)
            recalled = await ann.recall(chat, receipt.seq)
            assert recalled.recalled is not UNSET
            assert [user.name for user in await ann.search("bo")] == ["bob"]
            assert all(isinstance(user, User) for user in await ann.search("an"))
            with pytest.raises(NotFound):
                await ann.recall("nowhere", 1)


@pytest.mark.parametrize("form", ["bytes", "path"])
async def test_a_file_is_uploaded_and_sent(tmp_path: Path, form: str) -> None:
    path = tmp_path / "note.txt"
    path.write_bytes(b"a note\n" * 1000)
    async with in_process(tmp_path / "data") as (_, url):
        login = await dev_login(url, "ann")
        async with connect(url, login.token) as ann:
            chat = (await ann.group("g", [])).conversation
            content = path if form == "path" else path.read_bytes()
            facts = await ann.upload(chat, content, name="note.txt", type="text/plain")
            assert (facts.name, facts.size) == ("note.txt", 7000)
            receipt = await ann.submit(chat, kind="file", body={"file": facts.file})
            (message,) = [each for each in await ann.history(chat) if each.seq == receipt.seq]
            assert message.body["file"] == facts.file
