"""`message.search` on both engines: what is found, by whom, and what never is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from chat_common.errors import Invalid, NotFound, Unavailable
from chat_server.im.purge import purge
from chat_server.im.search import find, index
from chat_server.im.search.settings import SearchSettings
from chat_server.store.schema import search, searched
from chat_server.store.sqlite import SqliteDatabase
from sqlalchemy import text, update

from tests.chat_server.house import House


async def indexed(house: House) -> int:
    """Let the indexer do all that is owed; how many messages it looked at."""
    total = 0
    while True:
        rows, rest = await house.rooms.im._parts.indexer.step()
        total += rows
        if not rest:
            return total


async def found(house: House, user: str, query: str | None = None, **params: Any) -> list[str]:
    """What is found, as text with the marks in brackets."""
    await indexed(house)
    if query is not None:
        params["query"] = query
    return shown(await house.call(user, "message.search", **params))


def shown(answer: Any) -> list[str]:
    lines = []
    for hit in answer["hits"]:
        line = hit["text"]
        for start, end in reversed(hit["marks"]):
            line = f"{line[:start]}[{line[start:end]}]{line[end:]}"
        lines.append(line)
    return lines


async def say_all(house: House, user: str, room: str, texts: Sequence[str]) -> list[int]:
    seqs = []
    for each in texts:
        house.clock.advance(1)
        seqs.append((await house.say(user, room, each))["seq"])
    return seqs


async def test_words_are_found_newest_first_in_one_conversation_and_in_all(house: House) -> None:
    ada, bob, eve = await house.users("ada", "bob", "eve")
    room, other, secret = await house.group(ada, bob), await house.group(ada), await house.group(eve)
    await say_all(house, ada, room, ["a blue door", "Ein Café in Köln"])
    await say_all(house, ada, room, ["你好，世界", "日本語のテスト", "한국어를 배워요"])
    await say_all(house, ada, other, ["blue again"])
    await say_all(house, eve, secret, ["blue and secret"])
    assert await found(house, ada, "blue") == ["[blue] again", "a [blue] door"]
    assert await found(house, bob, "BLU") == ["a [blu]e door"]
    assert await found(house, ada, "blue", conversation=room) == ["a [blue] door"]
    assert await found(house, ada, "door blue") == ["a [blue] [door]"]
    assert await found(house, ada, "cafe koln") == ["Ein [Café] in [Köln]"]
    for query, line in [
        ("好", "你[好]，世界"),
        ("世界", "你好，[世界]"),
        ("本語の", "日[本語の]テスト"),
        ("テ", "日本語の[テ]スト"),
        ("국어를", "한[국어를] 배워요"),
    ]:
        assert await found(house, bob, query) == [line]
    assert await found(house, ada, "green") == []
    assert await found(house, ada, "secret") == []
    with pytest.raises(NotFound):
        await found(house, ada, "blue", conversation=secret)


async def test_filters_by_person_kind_link_and_time(house: House) -> None:
    ada, bob = await house.users("ada", "bob")
    room = await house.group(ada, bob)
    await say_all(house, ada, room, ["first word", "see https://example.org/word"])
    await say_all(house, bob, room, ["second word"])
    house.clock.advance(86_400)
    day = house.clock.wall_ms()
    await say_all(house, bob, room, ["third word"])
    house.clock.advance(1)
    await house.call(bob, "submit", conversation=room, kind="location", body={"lat": 1, "lon": 2, "label": "a word"})
    assert await found(house, ada, "word", sender=bob) == ["a [word]", "third [word]", "second [word]"]
    assert await found(house, ada, "word", kinds=["location"]) == ["a [word]"]
    assert await found(house, ada, "word", kinds=["location", "text"], since=day) == ["a [word]", "third [word]"]
    assert await found(house, ada, "word", until=day, sender=bob) == ["second [word]"]
    assert await found(house, ada, conversation=room, links=True) == ["see https://example.org/word"]
    assert await found(house, ada, conversation=room, kinds=["location"]) == ["a word"]
    for params in ({}, {"query": " ?! "}, {"query": "a " * 40}):
        with pytest.raises(Invalid) as refused:
            await house.call(ada, "message.search", **params)
        assert refused.value.field == "query"


async def test_pages_by_cursor_hold_each_message_once(house: House) -> None:
    ada = await house.user("ada")
    room = await house.group(ada)
    await say_all(house, ada, room, [f"word {number}" for number in range(7)])
    for number in range(5):  # within one millisecond
        await house.say(ada, room, f"word {number + 7}")
    await indexed(house)
    seen, cursor = [], None
    while True:
        page = await house.call(ada, "message.search", query="word", limit=5, **({"cursor": cursor} if cursor else {}))
        seen += [hit["message"]["seq"] for hit in page["hits"]]
        if (cursor := page.get("cursor")) is None:
            break
    assert seen == list(range(12, 0, -1))


async def test_an_edit_is_found_by_its_new_words_and_what_is_gone_by_none(house: House) -> None:
    ada, bob = await house.users("ada", "bob")
    room = await house.group(ada, bob)
    first, second, third = await say_all(house, ada, room, ["old words", "words to recall", "words to stay"])
    await indexed(house)
    await house.call(ada, "message.edit", conversation=room, seq=first, body={"text": "new phrase"})
    await house.call(ada, "message.react", conversation=room, seq=third, emoji="👍", on=True)
    # Before the indexer comes by, the index holds the old words: they are not found all the same.
    assert shown(await house.call(bob, "message.search", query="old")) == []
    await house.call(ada, "message.recall", conversation=room, seq=second)
    kept = await house.rows(search.select().where(search.c.seq == second))
    assert kept == [], "what is recalled leaves the index in the same transaction"
    assert await found(house, bob, "words") == ["[words] to stay"]
    assert await found(house, bob, "phrase") == ["new [phrase]"]
    assert await found(house, bob, "recall") == []

    def purged(tx: Any) -> None:
        purge(tx, house.rooms.im._parts.attachments, tx.room(room), None)

    await house.rooms.executor.apply(purged)
    assert await house.rows(search.select()) == []
    assert await house.rows(text("SELECT count(*) FROM chat_search_words")) == [(0,)]
    assert await found(house, bob, "words") == []


async def test_only_what_was_said_while_one_was_there_is_found(house: House) -> None:
    ada, bob = await house.users("ada", "bob")
    room = await house.group(ada)
    await say_all(house, ada, room, ["word before"])
    await house.call(ada, "group.invite", conversation=room, users=[bob])
    (seen,) = await say_all(house, ada, room, ["word during"])
    await house.call(bob, "group.leave", conversation=room)
    await say_all(house, ada, room, ["word between"])
    assert await found(house, bob, "word") == ["[word] during"]
    assert await found(house, bob, conversation=room, kinds=["text"]) == ["word during"]
    await house.call(ada, "message.edit", conversation=room, seq=seen, body={"text": "word changed while he was away"})
    assert await found(house, bob, "changed") == [], "who has left is shown what it said then"
    await house.call(ada, "group.invite", conversation=room, users=[bob])
    await say_all(house, ada, room, ["word after"])
    assert await found(house, bob, "word") == ["[word] after", "[word] changed while he was away"]


async def test_somebody_in_very_many_conversations_finds_his_own_alone(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(find, "ROOMS", 2)
    monkeypatch.setattr(find, "CANDIDATES", 3)
    ada, eve = await house.users("ada", "eve")
    mine = [await house.group(ada) for _ in range(3)]
    theirs = await house.group(eve)
    await say_all(house, ada, mine[0], ["blue first"])
    await say_all(house, eve, theirs, [f"blue {number}" for number in range(8)])
    await say_all(house, ada, mine[2], ["blue last"])
    assert await found(house, ada, "blue") == ["[blue] last", "[blue] first"]
    monkeypatch.setattr(find, "LOOKED_AT", 6)
    page = await house.call(ada, "message.search", query="blue")
    assert shown(page) == ["[blue] last"], "the page ends early, and says that there is more"
    assert shown(await house.call(ada, "message.search", query="blue", cursor=page["cursor"])) == ["[blue] first"]


async def test_the_index_is_built_in_portions_and_anew_from_what_it_has(house: House) -> None:
    ada = await house.user("ada")
    rooms = [await house.group(ada) for _ in range(3)]
    for room in rooms:
        await say_all(house, ada, room, [f"word {number}" for number in range(4)])
    indexer = house.rooms.im._parts.indexer
    indexer._settings = SearchSettings(portion=5)
    looked_at, rest = await indexer.step()
    assert (looked_at, rest) == (5, True)
    assert await indexed(house) == 7
    assert await indexed(house) == 0, "nothing is indexed twice"
    assert len(await found(house, ada, "word", limit=100)) == 12
    # An index from which a part was lost is made good from the conversation's rev.
    await house.database.change(lambda connection: connection.execute(update(searched).values(rev=0)))
    indexer._since = 0
    assert await indexed(house) == 12
    assert len(await found(house, ada, "word", limit=100)) == 12


async def test_a_message_that_is_deleted_while_it_is_being_indexed_does_not_come_back(house: House) -> None:
    ada = await house.user("ada")
    room = await house.group(ada)
    await say_all(house, ada, room, ["word"])
    indexer = house.rooms.im._parts.indexer
    portion = await house.database.read(lambda connection: indexer._read(connection, 0))

    def purged(tx: Any) -> None:
        purge(tx, house.rooms.im._parts.attachments, tx.room(room), None)

    await house.rooms.executor.apply(purged)
    assert await house.database.change(lambda connection: indexer._write(connection, portion))
    assert await house.rows(search.select()) == []


async def test_what_is_gone_leaves_the_files_of_the_index(house: House) -> None:
    ada = await house.user("ada")
    room = await house.group(ada)
    for number in range(40):  # each its own segment of the index, some merged
        await say_all(house, ada, room, [f"spoken{number} zq{number}x and more words"])
        await indexed(house)
    for seq in (1, 30):
        assert await house.call(ada, "message.search", query=f"zq{seq - 1}x")
        await house.call(ada, "message.recall", conversation=room, seq=seq)
    await say_all(house, ada, room, ["qqzq and the last"])
    await indexed(house)
    await house.call(ada, "message.recall", conversation=room, seq=41)
    if isinstance(house.database, SqliteDatabase):
        assert await in_file(house, b"qqzq")
    await house.rooms.tidy()
    assert len(await found(house, ada, "spoken", limit=100)) == 38
    if isinstance(house.database, SqliteDatabase):
        assert not await in_file(house, b"qqzq")
        assert await in_file(house, b"spoken")


async def in_file(house: House, word: bytes) -> bool:
    """Whether a word stands in the database's file. (FTS5 keeps of a word what it has beyond the one before it; this
    one begins as no other does.)"""
    assert await house.database.checkpoint()  # type: ignore[attr-defined]
    return word in (house.store.folder / "chat.db").read_bytes()


async def test_a_search_that_takes_too_long_or_is_turned_off_says_so(house: House) -> None:
    ada = await house.user("ada")
    room = await house.group(ada)
    await say_all(house, ada, room, ["word"])
    await indexed(house)
    searching = house.rooms.im._parts.search

    def slow(connection: Any) -> None:
        many = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 50000000) "
        many += "SELECT count(*) FROM n"
        index.words_of(connection).limited(connection, 0.05, lambda: connection.execute(text(many)).all())

    with pytest.raises(index.TooLong):
        await house.database.read(slow)
    searching._settings = SearchSettings(enabled=False)
    with pytest.raises(Unavailable):
        await house.call(ada, "message.search", query="word")
