"""Sensitive words in whatever people say to others: a case for each thing that is covered."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from chat_common.errors import NotPermitted
from chat_common.records import Caller
from chat_common.wire import OtherText, SubmitMessage
from chat_server.moderation.settings import WordSettings
from chat_server.moderation.words import Words
from chat_server.refusals import Refusals
from chat_server.server import Server
from chat_server.store.account_schema import report
from sqlalchemy import select

from tests.chat_server.house import House, Store, opened
from tests.support.waiting import until

ADA = Caller("ada", "ref")


def words(folder: Path, **lists: str) -> Words:
    paths = {}
    for action, text in lists.items():
        (folder / f"{action}.txt").write_text(text, "utf-8")
        paths[action] = [str(folder / f"{action}.txt")]
    return Words(WordSettings(**paths), Refusals())  # type: ignore[arg-type]


@contextlib.asynccontextmanager
async def house_with(store: Store, folder: Path, **lists: str) -> AsyncIterator[tuple[House, Words]]:
    made = words(folder, **lists)
    async with opened(store, interceptors=made.interceptors()) as house:
        yield house, made


async def refused(house: House, who: str, command: str, **params: Any) -> str | None:
    with pytest.raises(NotPermitted, match="words that are not allowed") as error:
        await house.call(who, command, **params)
    return error.value.field


async def test_refused_words_are_refused_wherever_they_are_said(store: Store, tmp_path: Path) -> None:
    async with house_with(store, tmp_path, refuse="bad\n坏话\n❤\n") as (house, _):
        ada, bert = await house.users("ada", "bert")
        room = await house.group(ada, bert)
        seq = (await house.say(ada, room, "good"))["seq"]
        here = {"conversation": room}
        cases: list[tuple[str, dict[str, Any], str]] = [
            ("submit", {**here, "kind": "text", "body": {"text": "so B\u200bÄD"}}, "body"),
            ("submit", {**here, "kind": "text", "body": {"text": "说坏话"}}, "body"),
            ("submit", {**here, "kind": "image", "body": {"file": "f", "text": "bad caption"}}, "body"),
            ("submit", {**here, "kind": "location", "body": {"lat": 1.0, "lon": 1.0, "label": "bad place"}}, "body"),
            ("message.edit", {**here, "seq": seq, "body": {"text": "bad after all"}}, "body"),
            ("message.react", {**here, "seq": seq, "emoji": "❤️", "on": True}, "emoji"),
            ("user.rename", {"name": "Bad Ada"}, "name"),
            ("group.create", {"name": "bad group", "members": []}, "name"),
            ("group.update", {**here, "name": "bad name"}, "name"),
            ("group.update", {**here, "announcement": "bad news"}, "announcement"),
            ("contact.request", {"user": bert, "text": "bad greeting"}, "text"),
        ]
        for command, params, field in cases:
            assert await refused(house, ada, command, **params) == field, command
        (message,) = (await house.call(bert, "history", **here))["messages"]
        assert (message["body"]["text"], "edited_at" in message) == ("good", False)
        assert (await house.call(ada, "group.get", **here))["name"] == "group"
        await house.say(ada, room, "badly, but allowed")


async def test_masked_words_are_masked_wherever_they_are_said(store: Store, tmp_path: Path) -> None:
    async with house_with(store, tmp_path, mask="bad\n") as (house, _):
        ada, bert = await house.users("ada", "bert")
        room = await house.group(ada, bert)
        here = {"conversation": room}
        seq = (await house.say(ada, room, "so Bad!"))["seq"]
        assert (await house.call(bert, "history", **here))["messages"][-1]["body"] == {"text": "so •••!"}
        edited = await house.call(ada, "message.edit", **here, seq=seq, body={"text": "bad, bad"})
        assert edited["body"]["text"] == "•••, •••"
        changed = await house.call(ada, "group.update", **here, name="bad name", announcement="no bad news")
        assert (changed["name"], changed["announcement"]) == ("••• name", "no ••• news")
        made = await house.call(ada, "group.create", name="bad group", members=[])
        assert made["name"] == "••• group"
        await house.call(ada, "contact.request", user=bert, text="bad greeting")
        (contact,) = (await house.call(bert, "contact.list"))["contacts"]
        assert contact["text"] == "••• greeting"
        assert await refused(house, ada, "user.rename", name="Bad Ada") == "name"  # the rest would be no name


def test_captions_and_file_names_are_masked_and_ids_are_not(tmp_path: Path) -> None:
    made = words(tmp_path, mask="bad\n")
    body = {"file": "bad", "text": "bad", "deep": [{"x": ["bad", 1]}]}
    said = SubmitMessage(conversation="c", kind="image", body=body)
    assert made.screen(ADA, said).body == {"file": "bad", "text": "•••", "deep": [{"x": ["•••", 1]}]}
    name = OtherText(conversation="", kind="text", body={"text": "bad.txt"}, target="file.name")
    assert made.screen(ADA, name).body == {"text": "•••.txt"}
    assert said.body["text"] == "bad", "the request itself stays as it was"


def test_masks_leave_the_ranges_of_mentions_where_they_are(tmp_path: Path) -> None:
    """Whatever the word is made of: marks, wide letters, invisible characters, ligatures, letters beyond 2**16."""
    made = words(tmp_path, mask="bad\nfish\n")
    for word in ("bad", "ＢＡＤ", "b\u200ba\u0301d", "𝕓𝕒𝕕", "ﬁsh", "BA\u00adD"):
        text = f"{word} @Zoé, {word}"
        at = len(word) + 1
        entity = {"type": "mention", "offset": at, "length": 4, "user": "bad"}
        body = {"text": text, "entities": [entity], "format": "markup"}
        passed = made.screen(ADA, SubmitMessage(conversation="c", kind="text", body=body, mentions=["bad"]))
        masked = passed.body["text"]
        assert masked == f"{'•' * len(word)} @Zoé, {'•' * len(word)}"
        assert masked[at : at + 4] == "@Zoé"
        assert (passed.body["entities"], passed.mentions) == ([entity], ["bad"])


def test_refusing_goes_before_masking_and_without_lists_nothing_stands_there(tmp_path: Path) -> None:
    made = words(tmp_path, refuse="worse\n", mask="bad\n")
    with pytest.raises(NotPermitted):
        made.screen(ADA, SubmitMessage(conversation="c", kind="text", body={"text": "bad and worse"}))
    assert Words(WordSettings(), Refusals()).interceptors() == []


async def test_reported_words_pass_and_admins_see_them(store: Store, tmp_path: Path) -> None:
    async with house_with(store, tmp_path, report="odd\n") as (house, made):
        ada, bert = await house.users("ada", "bert")
        room = await house.group(ada, bert)
        (consumer,) = made.contributions(house.rooms.executor).consumers

        async def carried() -> list[Any]:
            await consumer.handler([each for each in house.outbox.take() if each.topic == "stored"])
            await made.report_waiting(house.rooms.executor)
            rows = await house.rows(select(report))
            return [(row.about, row.conversation, row.seq, row.reason, row.closed_at) for row in rows]

        assert await carried() == []
        seq = (await house.say(ada, room, "an ODD thing"))["seq"]
        await house.say(ada, room, "an even thing")
        assert (await house.call(bert, "history", conversation=room))["messages"][0]["body"]["text"] == "an ODD thing"
        first = (ada, room, seq, "list report", None)
        assert await carried() == [first]
        await house.call(bert, "message.react", conversation=room, seq=seq, emoji="👍", on=True)
        assert await carried() == [first], "the same message is one report"
        edited = (await house.say(ada, room, "fine"))["seq"]
        await house.call(ada, "message.edit", conversation=room, seq=edited, body={"text": "odd after all"})
        assert (ada, room, edited, "list report", None) in await carried()
        await house.call(ada, "group.update", conversation=room, announcement="odd news")
        assert (ada, room, 0, "group.announcement: list report", None) in await carried()
        await house.call(bert, "user.rename", name="Odd Bert")
        assert (bert, "", 0, "user.name: list report", None) in await carried()
        recalled = (await house.say(ada, room, "odd and gone"))["seq"]
        await house.call(ada, "message.recall", conversation=room, seq=recalled)
        assert recalled not in [number for _, _, number, _, _ in await carried()]
        assert {row.reporter for row in await house.rows(select(report))} == {"@words"}


async def test_a_running_server_takes_a_changed_list_and_reports_by_itself(tmp_path: Path) -> None:
    (tmp_path / "refuse.txt").write_text("bad\n", "utf-8")
    (tmp_path / "report.txt").write_text("odd\n", "utf-8")
    lists = {"refuse": [str(tmp_path / "refuse.txt")], "report": [str(tmp_path / "report.txt")], "reload": 0.02}
    server = Server(settings={"server": {"data": str(tmp_path / "data")}, "words": lists}, environ={})
    server.standalone = True
    async with server:
        ada = (await server.ensure_user("ada")).user
        room = (await server.call("group.create", {"name": "room", "members": []}, user=ada)).conversation
        number = itertools.count()

        async def takes(text: str) -> bool:
            params = {"conversation": room, "kind": "text", "body": {"text": text}}
            try:
                await server.call("submit", params, user=ada, ref=f"ref {next(number)}")
            except NotPermitted:
                return False
            return True

        assert (await takes("bad"), await takes("new")) == (False, True)
        assert server.refusals.counts["words"] == 1
        begin = {"conversation": room, "name": "bad.txt", "type": "text/plain", "size": 3}
        for command, params, who in (
            ("upload.begin", begin, ada),
            ("auth.register", {"name": "bad", "password": "long enough"}, None),
        ):
            with pytest.raises(NotPermitted, match="words that are not allowed") as error:
                await server.call(command, params, user=who)
            assert error.value.field == "name"
        (tmp_path / "refuse.txt").write_text("new and longer\nnew\n", "utf-8")

        async def changed() -> bool:
            return not await takes("new")

        await until(changed)
        assert await takes("bad")
        assert await takes("an odd thing")

        async def seen() -> bool:
            rows = await server.database.read(lambda connection: connection.execute(select(report.c.about)).all())
            return [row.about for row in rows] == [ada]

        await until(seen)
