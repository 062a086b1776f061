"""Exports: what is in the zip and what is not, and the links under which it is fetched; on each engine."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest
from chat_common.errors import ChatError
from chat_common.ports.objects import ObjectStore
from chat_server.admin import export
from chat_server.admin.archive import Entry, safe_name, zipped
from chat_server.admin.export import Gatherer
from chat_server.admin.records import BanUser, SetRole
from chat_server.store.account_schema import audit
from sqlalchemy import select

from tests.chat_server.files.test_files import House, open_house
from tests.chat_server.house import Store


@pytest.fixture
async def house(store: Store) -> AsyncIterator[House]:
    async with open_house(store.settings) as house:
        yield house


async def archive_of(gatherer: Gatherer) -> zipfile.ZipFile:
    portions = [portion async for portion in zipped(gatherer.entries(), gatherer.clock.wall_ms())]
    assert max(map(len, portions)) < 1_500_000  # a chunk of the store, whatever the sizes of the files
    return zipfile.ZipFile(io.BytesIO(b"".join(portions)))


def read(archive: zipfile.ZipFile, name: str) -> Any:
    return json.loads(archive.read(name))


async def test_all_of_a_person_is_in_it_and_nothing_that_the_person_may_not_see(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada, bob, eve, room = house.ada, house.bob, house.eve, house.room
    call = house.server.call
    token = await house.server.issue_token(eve, "phone")
    await call("group.invite", {"conversation": room, "users": [eve]}, user=ada)
    first = await house.submit(bob, "text", text="before")
    monkeypatch.setattr(export, "PORTION", 7)
    for number in range(16):
        await house.submit(eve, "text", text=f"eve {number}")
    data = bytes(range(256)) * 12_000  # three chunks of the store
    sent = await house.upload(eve, data, "application/octet-stream", "../../a:b.bin")
    await house.submit(eve, "file", file=sent.file)
    lost = await house.upload(eve, b"lost", "application/octet-stream", "lost")
    await house.upload(bob, b"bob's own", "application/octet-stream", "bobs")
    react = {"conversation": room, "seq": first.seq, "emoji": "👍", "on": True}
    await call("message.react", react, user=eve)
    await call("contact.request", {"user": bob, "text": "hello bob"}, user=eve)
    await call("user.report", {"user": bob, "category": "spam", "reason": "for admins"}, user=eve)
    await house.call(eve, "group.leave", conversation=room)
    await house.call(bob, "message.edit", conversation=room, seq=first.seq, body={"text": "after eve had left"})
    await house.submit(bob, "text", text="nor this")
    store: Any = await house.server.assembly.get(ObjectStore)  # type: ignore[type-abstract]
    async for each in store.list("file/"):
        if each.size == len(b"lost"):
            await store.delete([each.key])

    gatherer = await house.server.rooms.admin.exports.of("console:me", eve)
    archive = await archive_of(gatherer)
    account = read(archive, "account.json")
    assert (account["user"]["user"], account["role"]) == (eve, "user")
    assert account["ways_to_log_in"] == [{"provider": "app", "subject": "eve"}]
    assert [each["device"] for each in account["logins"]] == ["phone"]
    assert [(each["user"]["user"], each["state"]) for each in read(archive, "contacts.json")] == [(bob, "asked")]
    assert [each["reason"] for each in read(archive, "reports.json")] == ["for admins"]
    assert [each["conversation"] for each in read(archive, "conversations.json")] == [room]
    messages = read(archive, f"messages/{room}.json")
    said = [each["body"]["text"] for each in messages if each["kind"] == "text"]
    assert said == ["before", *(f"eve {number}" for number in range(16))]
    assert [each["seq"] for each in messages if "own_reactions" in each] == [first.seq]
    files = {each["file"]: each for each in read(archive, "files.json")}
    assert set(files) == {sent.file, lost.file}
    assert files[sent.file]["path"] == f"files/{sent.file}/_.._a_b.bin"
    assert archive.read(files[sent.file]["path"]) == data
    assert (files[lost.file]["missing"], gatherer.counted.missing) == (True, [lost.file])
    assert {each["user"] for each in read(archive, "people.json")} == {ada, bob, eve}
    assert archive.testzip() is None
    everything = b"".join(archive.read(name) for name in archive.namelist())
    for secret in (token.encode(), b"nor this", b"after eve", b"bob's own"):
        assert secret not in everything
    assert (gatherer.counted.conversations, gatherer.counted.files) == (1, 1)


async def test_an_admin_and_everybody_for_himself_get_a_link_that_is_good_once(house: House) -> None:
    admin = house.server.rooms.admin
    for who in (house.ada, house.eve):
        await admin.users.set_role("console:me", SetRole(user=who, role="admin"))
    asked = {"user": house.bob}
    assert (await house.refused(house.bob, "admin.user.export"))[0] == "not_permitted"
    with pytest.raises(ChatError, match="does not exist"):
        await house.server.call("admin.user.export", {"user": "nobody"}, user=house.ada)
    link = await house.server.call("admin.user.export", asked, user=house.ada)
    assert (await house.web.head(link.url)).status_code == 405  # a look does not use it up
    answer = await house.web.get(link.url)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/zip")
    assert answer.headers["content-disposition"].startswith("attachment; filename*=UTF-8''chat-bob-")
    assert read(zipfile.ZipFile(io.BytesIO(answer.content)), "account.json")["user"]["user"] == house.bob
    assert (await house.web.get(link.url)).status_code == 404

    for _ in range(3):
        mine = await house.call(house.bob, "user.export")
    assert (await house.refused(house.bob, "user.export"))[0] == "rate_limited"
    assert (await house.web.get(mine.url)).status_code == 200
    notes = await house.server.database.read(
        lambda connection: connection.execute(select(audit).where(audit.c.act == "user.export")).all()
    )
    assert sorted((row.actor, row.subject) for row in notes) == sorted(
        [(house.ada, house.bob), *[(house.bob, house.bob)] * 3]
    )
    assert {row.details for row in notes} == {None}
    # Who may not any more gets nothing by a link from when he might.
    late = await house.server.call("admin.user.export", asked, user=house.eve)
    await admin.users.set_role("console:me", SetRole(user=house.eve, role="user"))
    assert (await house.web.get(late.url)).status_code == 403
    over = await house.server.call("admin.user.export", asked, user=house.ada)
    house.clock.advance(301)
    assert (await house.web.get(over.url)).status_code == 404
    banned = await house.call(house.ada, "user.export")
    await admin.users.ban("console:me", BanUser(user=house.ada))
    assert (await house.web.get(banned.url)).status_code == 403


async def test_of_one_person_one_is_made_at_a_time_and_four_in_all(house: House) -> None:
    exports = house.server.rooms.admin.exports
    exports._running.add(house.bob)
    link = await house.call(house.bob, "user.export")
    busy = await house.web.get(link.url)
    assert (busy.status_code, busy.headers["retry-after"]) == (429, "60")
    exports._running.update("abc")
    full = await house.call(house.ada, "user.export")
    assert (await house.web.get(full.url)).status_code == 429
    exports._running.clear()
    assert (await house.web.get(full.url)).status_code == 200  # that was not the link's fault
    assert not exports._running


@pytest.mark.parametrize(
    ("given", "made"),
    [
        ("a/b\\c.txt", "a_b_c.txt"),
        ("..", "file"),
        (" con.txt. ", "con.txt"),
        ("é" * 200 + ".jpeg", "é" * 97 + ".jpeg"),
        ("x" * 255, "x" * 200),
        ("名" * 255 + "." + "x" * 30, "名" * 66),
    ],
)
def test_a_name_that_people_gave_leads_nowhere(given: str, made: str) -> None:
    assert safe_name(given) == made
    assert len(made.encode()) <= 200


async def test_what_breaks_off_is_no_zip() -> None:
    async def broken() -> AsyncGenerator[Entry]:
        async def chunks() -> AsyncGenerator[bytes]:
            yield b"some"
            raise ChatError("away")

        yield Entry("a", chunks())

    written = bytearray()

    async def fetch() -> None:
        async for portion in zipped(broken(), 0):
            written.extend(portion)

    with pytest.raises(ChatError):
        await fetch()
    with pytest.raises(zipfile.BadZipFile):
        zipfile.ZipFile(io.BytesIO(written))


async def test_who_stops_reading_ends_what_is_read_for_it() -> None:
    closed = []

    async def entries() -> AsyncGenerator[Entry]:
        async def chunks() -> AsyncGenerator[bytes]:
            try:
                while True:
                    yield b"on and on"
            finally:
                closed.append("chunks")

        yield Entry("a", chunks(), packed=True)

    async with aclosing(zipped(entries(), 0)) as portions:
        assert await anext(portions)
    assert closed == ["chunks"]
