"""Files through the whole server: commands, messages, rights, recall. The store is a local folder."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import AsyncIterator, Mapping
from typing import Any

import httpx2
import pytest
from attrs import define
from chat_common import wire
from chat_common.clock import ManualClock
from chat_common.errors import ChatError
from chat_common.ports.files import FILE_KINDS, Files
from chat_common.ports.objects import ObjectStore
from chat_oss import tables
from chat_oss.leftovers import Leftovers
from chat_oss.uploads import Uploads
from chat_server.files.kinds import KINDS
from chat_server.files.rights import SqlFileRights
from chat_server.server import Server
from chat_server.store.account_schema import ban
from sqlalchemy import Connection, func, insert, select

from tests.chat_oss import pictures
from tests.chat_oss.uploads_checks import CHECKS
from tests.chat_server.house import Store

OGG = b"OggS\0\2" + bytes(2000)
MP4 = b"\0\0\0\x20ftypisom\0\0\x02\0isomiso2avc1mp41" + bytes(5000)


@define
class House:
    """A server, a group of ada and bob, and eve outside."""

    server: Server
    clock: ManualClock
    web: httpx2.AsyncClient
    ada: str
    bob: str
    eve: str
    room: str

    async def call(self, user: str, command: str, **params: Any) -> Any:
        return await self.server.call(command, params, user=user)

    async def refused(self, user: str, command: str, **params: Any) -> tuple[str, str | None]:
        with pytest.raises(ChatError) as caught:
            await self.call(user, command, **params)
        return caught.value.code, caught.value.field

    async def upload(self, user: str, data: bytes, type: str, name: str = "a.bin", room: str | None = None) -> Any:
        begun = await self.call(
            user, "upload.begin", conversation=room or self.room, name=name, type=type, size=len(data)
        )
        answer = await self.web.request("PUT", begun.put.url, headers=begun.put.headers, content=data)
        assert answer.status_code == 200, answer.text
        return await self.call(user, "upload.finish", file=begun.file)

    async def submit(self, user: str, kind: str, **body: Any) -> wire.Receipt:
        receipt: wire.Receipt = await self.call(user, "submit", conversation=self.room, kind=kind, body=body)
        return receipt

    async def message(self, user: str, seq: int) -> wire.Message:
        page = await self.call(user, "history", conversation=self.room)
        found: wire.Message = next(message for message in page.messages if message.seq == seq)
        return found

    async def urls(self, user: str, *files: str) -> list[str]:
        return [one.url for one in (await self.call(user, "file.links", files=list(files))).files]

    async def sweep(self) -> None:
        await (await self.server.assembly.get(Files)).sweep()  # type: ignore[type-abstract]


@contextlib.asynccontextmanager
async def open_house(settings: Mapping[str, Any], clock: ManualClock | None = None) -> AsyncIterator[House]:
    clock = clock or ManualClock()
    async with Server(settings=settings, clock=clock, environ={}) as server:
        ada, bob, eve = [(await server.ensure_user(name)).user for name in ("ada", "bob", "eve")]
        group = await server.call("group.create", {"name": "room", "members": [bob]}, user=ada)
        transport = httpx2.ASGITransport(server.app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://chat", timeout=30) as web:
            yield House(server, clock, web, ada, bob, eve, group.conversation)


@pytest.fixture
async def house(store: Store) -> AsyncIterator[House]:
    async with open_house(store.settings) as house:
        yield house


async def test_a_picture_goes_from_one_to_the_other_and_can_be_taken_back(house: House) -> None:
    facts = await house.upload(house.ada, pictures.jpeg(1600, 900), "image/jpeg", "cat.jpg")
    assert await house.urls(house.bob, facts.file) == []
    receipt = await house.submit(house.ada, "image", file=facts.file, text="my cat", width=7, size=1)
    message = await house.message(house.bob, receipt.seq)
    assert message.body == {
        "file": facts.file,
        "name": "cat.jpg",
        "type": "image/jpeg",
        "size": facts.size,
        "width": 1600,
        "height": 900,
        "text": "my cat",
    }
    [linked] = (await house.call(house.bob, "file.links", files=[facts.file])).files
    for url in (linked.url, linked.small, linked.large):
        answer = await house.web.get(url)
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "image/jpeg"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert pictures.SECRET not in answer.content
    assert await house.urls(house.eve, facts.file) == []
    await house.call(house.ada, "message.recall", conversation=house.room, seq=receipt.seq)
    assert await house.urls(house.bob, facts.file) == []
    assert await house.urls(house.ada, facts.file) == []
    await house.sweep()
    assert (await house.web.get(linked.url)).status_code == 404  # the old link still fits, the file is gone
    assert (await house.message(house.bob, receipt.seq)).body is not message.body


async def test_every_kind_gets_its_facts_from_the_server(house: House) -> None:
    pdf = await house.upload(house.ada, b"%PDF-1.7 " + bytes(100), "application/pdf", "报告.pdf")
    receipt = await house.submit(house.ada, "file", file=pdf.file)
    body = (await house.message(house.bob, receipt.seq)).body
    assert (body["name"], body["type"], body["size"]) == ("报告.pdf", "application/pdf", 109)
    head = (await house.call(house.bob, "inbox.list")).inbox[0].head
    assert head.preview.text == "报告.pdf"
    voice = await house.upload(house.ada, OGG, "audio/ogg")
    receipt = await house.submit(house.ada, "voice", file=voice.file, duration=3000, levels=[0, 255])
    body = (await house.message(house.bob, receipt.seq)).body
    assert (body["duration"], body["levels"], body["type"]) == (3000, [0, 255], "audio/ogg")
    video = await house.upload(house.ada, MP4, "video/mp4")
    poster = await house.upload(house.ada, pictures.jpeg(640, 360), "image/jpeg")
    receipt = await house.submit(
        house.ada, "video", file=video.file, duration=2000, width=1, height=1, poster=poster.file
    )
    body = (await house.message(house.bob, receipt.seq)).body
    assert (body["width"], body["height"], body["poster"]) == (640, 360, poster.file)
    assert len(await house.urls(house.bob, video.file, poster.file)) == 2
    animated = await house.upload(house.ada, pictures.gif(), "image/gif")
    receipt = await house.submit(house.ada, "image", file=animated.file)
    assert (await house.message(house.bob, receipt.seq)).body["animated"] is True


async def test_only_a_finished_unsent_file_of_ones_own_for_this_conversation_is_sent(house: House) -> None:
    facts = await house.upload(house.ada, pictures.png(), "image/png")
    begun = await house.call(house.ada, "upload.begin", conversation=house.room, name="a", type="image/png", size=10)
    other = await house.call(house.ada, "group.create", name="other", members=[house.bob])
    elsewhere = await house.upload(house.ada, pictures.png(30, 30), "image/png", room=other.conversation)
    for user, file in (
        (house.bob, facts.file),
        (house.ada, begun.file),
        (house.ada, elsewhere.file),
        (house.ada, "guessed"),
    ):
        assert await house.refused(user, "submit", conversation=house.room, kind="image", body={"file": file}) == (
            "not_found",
            "body.file",
        )
    await house.submit(house.ada, "image", file=facts.file)
    again = {"conversation": house.room, "kind": "image", "body": {"file": facts.file}}
    assert await house.refused(house.ada, "submit", **again) == ("conflict", "body.file")


async def test_a_repeated_submit_is_the_same_message(house: House) -> None:
    facts = await house.upload(house.ada, b"text", "text/plain")
    request = {"conversation": house.room, "kind": "file", "body": {"file": facts.file}}
    first = await house.server.call("submit", request, user=house.ada, ref="same")
    assert await house.server.call("submit", request, user=house.ada, ref="same") == first


async def test_a_file_is_sent_only_as_what_it_is(house: House) -> None:
    text = await house.upload(house.ada, b"hello", "text/plain")
    voice = await house.upload(house.ada, OGG, "audio/ogg")
    sound = {"duration": 1000}
    for kind, file, more, expected in (
        ("image", text.file, {}, "body.file"),
        ("voice", text.file, sound, "body.file"),
        ("video", voice.file, sound, "body.file"),
        ("voice", voice.file, {"duration": 0}, "body.duration"),
        ("voice", voice.file, {"duration": 4 * 3600 * 1000 + 1}, "body.duration"),
        ("voice", voice.file, {"duration": 3_000_000}, "body.duration"),
        ("voice", voice.file, {"duration": 1000, "levels": [256]}, "body.levels[0]"),
        ("voice", voice.file, {}, "body.duration"),
        ("file", text.file, {"text": " "}, "body.text"),
    ):
        body = {"file": file, **more}
        code, field = await house.refused(house.ada, "submit", conversation=house.room, kind=kind, body=body)
        assert (code, field) == ("invalid", expected)


async def test_a_message_without_its_file_names_what_is_missing(house: House) -> None:
    for kind in sorted(FILE_KINDS):
        for body, field in (
            ({}, "body.file"),
            ({"file": ""}, "body.file"),
            ({"file": None}, "body.file"),
            ({"file": []}, "body.file"),
            ({"files": []}, "body.file"),
        ):
            more = {"duration": 1000} if kind in ("voice", "video") else {}
            code, named = await house.refused(
                house.ada, "submit", conversation=house.room, kind=kind, body={**body, **more}
            )
            assert (code, named) == ("invalid", field)
    assert await house.refused(house.ada, "file.links", files=[]) == ("invalid", "files")


async def test_former_members_and_newcomers_read_what_stands_in_their_intervals(house: House) -> None:
    before = await house.upload(house.ada, b"before", "text/plain")
    await house.submit(house.ada, "file", file=before.file)
    await house.call(house.ada, "group.invite", conversation=house.room, users=[house.eve])
    during = await house.upload(house.ada, b"during", "text/plain")
    await house.submit(house.ada, "file", file=during.file)
    await house.call(house.ada, "group.kick", conversation=house.room, users=[house.eve])
    after = await house.upload(house.ada, b"after!", "text/plain")
    await house.submit(house.ada, "file", file=after.file)
    asked = [before.file, during.file, after.file]
    found = (await house.call(house.eve, "file.links", files=asked)).files
    assert [one.file for one in found] == [during.file]
    assert len(await house.urls(house.bob, *asked)) == 3
    assert (
        await house.refused(house.eve, "upload.begin", conversation=house.room, name="a", type="text/plain", size=1)
    )[0] == "not_a_member"
    stranger = (await house.server.ensure_user("mallory")).user
    code, _ = await house.refused(
        stranger, "upload.begin", conversation=house.room, name="a", type="text/plain", size=1
    )
    assert code == "not_found"
    [url] = await house.urls(house.eve, during.file)
    house.clock.advance(300)
    assert (await house.web.get(url)).status_code == 403


async def begun_and_put(house: House, user: str) -> str:
    data = pictures.jpeg()
    begun = await house.call(
        user, "upload.begin", conversation=house.room, name="a.jpg", type="image/jpeg", size=len(data)
    )
    answer = await house.web.request("PUT", begun.put.url, headers=begun.put.headers, content=data)
    assert answer.status_code == 200
    return str(begun.file)


async def stored(house: House) -> list[str]:
    store = await house.server.assembly.get(ObjectStore)  # type: ignore[type-abstract]
    return [info.key async for info in store.list()]


async def test_who_was_kicked_in_between_cannot_finish_and_leaves_nothing(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = await begun_and_put(house, house.bob)
    await house.call(house.ada, "group.kick", conversation=house.room, users=[house.bob])
    assert (await house.refused(house.bob, "upload.finish", file=file))[0] == "not_a_member"
    assert all(key.startswith("upload/") for key in await stored(house)), "nothing is made of it"
    await house.call(house.ada, "group.invite", conversation=house.room, users=[house.bob])
    assert (await house.call(house.bob, "upload.finish", file=file)).file == file  # he is back in time
    await house.submit(house.bob, "image", file=file)
    kept = set(await stored(house))

    again = await begun_and_put(house, house.bob)
    finish = Uploads.finish

    async def kicked_first(*arguments: Any) -> str:
        await house.call(house.ada, "group.kick", conversation=house.room, users=[house.bob])
        return await finish(*arguments)

    monkeypatch.setattr(Uploads, "finish", kicked_first)  # while the picture is converted
    assert (await house.refused(house.bob, "upload.finish", file=again))[0] == "not_a_member"
    house.clock.advance(3 * 3600)
    await house.sweep()
    assert set(await stored(house)) == kept
    assert (await house.refused(house.bob, "upload.finish", file=again))[0] == "not_found"


async def test_a_finish_whose_answer_was_lost_may_be_repeated_by_who_has_left(house: House) -> None:
    file = await begun_and_put(house, house.bob)
    first = await house.server.call("upload.finish", {"file": file}, user=house.bob, ref="r1")
    await house.call(house.bob, "group.leave", conversation=house.room)
    assert await house.server.call("upload.finish", {"file": file}, user=house.bob, ref="r1") == first


async def test_quotas_and_limits_are_told(store: Store) -> None:
    async with open_house({**store.settings, "files.oss": {"daily_files": 1}}) as small:
        await small.upload(small.ada, b"one", "text/plain")
        code, _ = await small.refused(
            small.ada, "upload.begin", conversation=small.room, name="a", type="text/plain", size=1
        )
        assert code == "rate_limited"
        await small.upload(small.bob, b"one", "text/plain")


async def test_the_sweep_leaves_what_messages_need(house: House, store: Store) -> None:
    data = secrets.token_bytes(500)
    kept = await house.upload(house.ada, data, "application/octet-stream")
    await house.submit(house.ada, "file", file=kept.file)
    twin = await house.upload(house.bob, data, "application/octet-stream")
    receipt = await house.submit(house.bob, "file", file=twin.file)
    await house.upload(house.bob, b"never sent", "text/plain")
    await house.call(house.bob, "upload.begin", conversation=house.room, name="a", type="text/plain", size=4)
    await house.call(house.bob, "message.recall", conversation=house.room, seq=receipt.seq)
    for _ in range(3):
        house.clock.advance(50_000)
        await house.sweep()
    objects = [path for path in (store.folder / "objects" / "objects").rglob("*") if path.is_file()]
    assert len(objects) == 1
    [url] = await house.urls(house.ada, kept.file)
    assert (await house.web.get(url)).content == data

    def rows(connection: Connection) -> list[int]:
        return [
            connection.execute(select(func.count()).select_from(table)).scalar_one()
            for table in (tables.file, tables.content)
        ]

    assert await house.server.database.read(rows) == [1, 1]


async def test_what_is_held_for_uploads_does_not_keep_the_sweep_from_the_others(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chat_oss.sweep.SWEEP_BATCH", 1)
    for number in range(8):
        begun = await house.call(
            house.bob, "upload.begin", conversation=house.room, name="a.txt", type="text/plain", size=4 + number
        )
        await house.refused(house.bob, "upload.finish", file=begun.file)
    facts = await house.upload(house.ada, b"take this back", "text/plain")
    receipt = await house.submit(house.ada, "file", file=facts.file)
    [url] = await house.urls(house.bob, facts.file)
    await house.call(house.ada, "message.recall", conversation=house.room, seq=receipt.seq)
    for _ in range(3):
        house.clock.advance(50)
        await house.sweep()
    assert (await house.web.get(url)).status_code == 404


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_the_table_keeps_its_promises(check: Any, house: House) -> None:
    database = house.server.database
    await check(Uploads(database, SqlFileRights()), Leftovers(database), house.ada, house.room, house.clock.wall_ms())


async def test_the_address_of_objects_tells_nothing_without_a_link(house: House) -> None:
    for path in ("/objects/", "/objects/file/x/original", "/objects/../chat.db", "/objects/%2e%2e/chat.db"):
        answer = await house.web.get(path)
        assert answer.status_code in (403, 404)


async def test_what_the_store_does_stands_among_the_metrics(house: House) -> None:
    await house.upload(house.ada, pictures.png(), "image/png")
    await house.refused(house.ada, "upload.finish", file="unknown")
    facts = await house.upload(house.ada, b"%PDF-1.7 text", "application/pdf")
    await house.submit(house.ada, "file", file=facts.file)
    [url] = await house.urls(house.bob, facts.file)
    before = moved((await house.web.get("/metrics")).text, "out")
    assert len((await house.web.get(url)).content) == 13
    await house.web.get("/objects/nothing")
    text = (await house.web.get("/metrics")).text
    assert moved(text, "out") == before + 13
    assert moved(text, "in") >= 13 + len(pictures.png())
    for line in (
        'chat_uploads_total{outcome="begun"} 2.0',
        'chat_uploads_total{outcome="finished"} 2.0',
        'chat_objects_seconds_count{operation="link_put",outcome="ok"} 2.0',
        'chat_objects_seconds_count{operation="link_get",outcome="ok"} 1.0',
        'chat_objects_seconds_count{operation="link_get",outcome="refused"} 1.0',
        'chat_uploads_total{outcome="not_found"} 1.0',
        'chat_objects_seconds_count{operation="put",outcome="ok"} 2.0',
        'chat_objects_seconds_bucket{le="+Inf",operation="put",outcome="ok"} 2.0',
        "chat_pictures_seconds_count 1.0",
        "chat_objects_dead 0.0",
    ):
        assert line in text


def moved(text: str, direction: str) -> float:
    (line,) = [
        line for line in text.splitlines() if line.startswith(f'chat_objects_bytes_total{{direction="{direction}"')
    ]
    return float(line.split()[-1])


def test_all_kinds_with_files_are_registered() -> None:
    assert {kind.name for kind in KINDS} == FILE_KINDS


async def test_who_may_not_speak_does_not_upload_and_a_timed_ban_ends(house: House) -> None:
    begin = {"conversation": house.room, "name": "a", "type": "text/plain", "size": 1}
    until = house.clock.wall_ms() + 60_000
    mute = {"conversation": house.room, "user": house.bob, "until": until}
    await house.server.call("group.mute", mute, user=house.ada)
    file = (await house.call(house.ada, "upload.begin", **begin)).file
    assert (await house.refused(house.bob, "upload.begin", **begin))[0] == "not_permitted"
    house.clock.advance(61)
    await house.call(house.bob, "upload.begin", **begin)
    until = house.clock.wall_ms() + 60_000
    await house.server.database.change(
        lambda connection: connection.execute(insert(ban).values(user=house.ada, until=until)).rowcount
    )
    assert (await house.refused(house.ada, "upload.begin", **begin))[0] == "not_permitted"
    assert (await house.refused(house.ada, "upload.finish", file=file))[0] == "not_permitted"
    house.clock.advance(61)
    await house.call(house.ada, "upload.begin", **begin)
