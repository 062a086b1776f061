"""What was deleted is nowhere any more: looked for as a thief of the disk would, in every file and every row."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from typing import Any

import pytest
from attrs import define, field
from chat_server.admin.deletion import DeleteUser
from chat_server.store import schema
from chat_server.store.sqlite import SqliteDatabase
from sqlalchemy import Connection, func, select, text

from tests.chat_oss import pictures
from tests.chat_server.files.test_files import House, open_house
from tests.chat_server.house import Store
from tests.support.logged import listen, logged

HEX = 16
SAID = "said" + secrets.token_hex(HEX // 2)
"""What people wrote: gone with the deletion."""
NAMED = "named" + secrets.token_hex(HEX // 2)
"""What people and files were called: gone with the kept replies, a day later."""


@define
class Thief:
    """Looks for words in all that the server has written."""

    store: Store
    house: House
    logged: list[str] = field(factory=list)

    async def finds(self, word: str) -> list[str]:
        """Where it stands, after what the server does by itself within two minutes."""
        server = self.house.server
        if server.leases is not None:
            await server.leases.renew()  # the clock was moved by days
        await server.rooms.admin.deletions.finish_one(self.house.ada)
        indexer = server.rooms.im._parts.indexer
        while (await indexer.step())[1]:
            pass
        await self.house.sweep()
        await server.rooms.tidy()
        if isinstance(server.database, SqliteDatabase):
            assert await server.database.checkpoint()
        word = word[-HEX:]  # an index shares the beginnings of words
        raw = word.encode()
        places = [
            str(path.relative_to(self.store.folder))
            for path in sorted(self.store.folder.rglob("*"))
            if path.is_file() and raw in path.read_bytes()
        ]
        if self.store.dialect == "postgresql":
            places += await server.database.read(lambda connection: _tables_with(connection, word))
        return places + [line for line in self.logged if word in line]


def _tables_with(connection: Connection, word: str) -> list[str]:
    names = connection.execute(
        text("SELECT table_name FROM information_schema.tables WHERE table_schema = 'public' ORDER BY 1")
    ).scalars()
    # Bytes are shown in hexadecimal.
    either = {"word": f"%{word}%", "hex": f"%{word.encode().hex()}%"}
    return [
        name
        for name in list(names)
        if connection.execute(
            text(f'SELECT count(*) FROM "{name}" AS row WHERE row::text LIKE :word OR row::text LIKE :hex'), either
        ).scalar_one()
    ]


@pytest.fixture
async def thief(store: Store) -> AsyncIterator[Thief]:
    async with open_house(store.settings) as house:
        yield Thief(store, house)


async def spoken(house: House, filler: int) -> list[int]:
    """Ada says the word in every way there is, among much that others say. The numbers of her messages."""
    ada, bob, eve = house.ada, house.bob, house.eve
    await house.call(ada, "user.rename", name=f"Ada {NAMED}")
    await house.call(ada, "group.invite", conversation=house.room, users=[eve])
    said = []
    for number in range(filler):
        await house.submit(bob, "text", text=f"bob {number} " + "x" * (number * 37 % 900))
        length = (number * number * 131) % 7_000  # some go to pages of their own
        said.append((await house.submit(ada, "text", text=f"{SAID} {number} " + "y" * length)).seq)
    first, second, *_ = said
    await house.call(bob, "submit", conversation=house.room, kind="text", body={"text": "quite"}, reply_to=first)
    await house.call(bob, "message.react", conversation=house.room, seq=first, emoji="👍", on=True)
    await house.call(eve, "group.leave", conversation=house.room)
    for number in range(2):
        body = {"text": f"{SAID} edited {number}"}
        await house.call(ada, "message.edit", conversation=house.room, seq=second, body=body)
    document = await house.upload(ada, f"{SAID} in a file".encode() * 100, "text/plain", f"{NAMED}.txt")
    said.append((await house.submit(ada, "file", file=document.file, text=f"{SAID} caption")).seq)
    await house.upload(ada, f"{SAID} never sent".encode(), "text/plain", f"{NAMED} 2.txt")
    direct = (await house.server.call("direct.open", {"user": bob}, user=ada)).conversation
    await house.call(ada, "submit", conversation=direct, kind="text", body={"text": f"{SAID} aside"})
    await house.server.call("direct.open", {"user": ada}, user=bob)  # shows the beginning of the newest message
    await house.server.call("contact.request", {"user": eve, "text": f"I am {NAMED}"}, user=ada)
    accused = {"user": bob, "category": "other", "reason": f"{SAID}, he did"}
    await house.server.call("user.report", accused, user=ada)
    return said


async def test_a_word_of_a_deleted_account_is_found_nowhere(thief: Thief, caplog: pytest.LogCaptureFixture) -> None:
    listen(caplog)
    house = thief.house
    seqs = await spoken(house, 24)
    picture = pictures.jpeg()
    begun = await house.call(house.ada, "upload.begin", name="me.jpg", type="image/jpeg", size=len(picture))
    await house.web.put(begun.put.url, headers=begun.put.headers, content=picture)
    worn = await house.call(house.ada, "upload.finish", file=begun.file)
    await house.call(house.ada, "user.avatar", file=worn.file)
    indexed = select(func.count()).select_from(schema.search)
    assert await thief.finds(SAID)
    assert await house.server.database.read(lambda connection: connection.execute(indexed).scalar_one()) > 24
    assert await thief.finds(NAMED)

    await house.call(house.ada, "message.recall", conversation=house.room, seq=seqs[0])
    deletions = house.server.rooms.admin.deletions
    await deletions.delete("console:me", DeleteUser(user=house.ada, messages=True))
    # A server in which nobody's clock moves: at once, but for what stands in kept replies, and for links to upload.
    assert await thief.finds(SAID) == []
    house.clock.advance(86_400 + 60)
    assert await thief.finds(NAMED) == []
    house.clock.advance(2 * 86_400)
    await house.sweep()
    objects = [path for path in (thief.store.folder / "objects").rglob("*") if path.is_file()]
    assert not [path for path in objects if b"JFIF" in path.read_bytes()]
    for word in (SAID, NAMED):
        assert word not in logged(caplog)


async def test_a_recalled_message_is_found_nowhere(thief: Thief) -> None:
    house = thief.house
    message: dict[str, Any] = {"conversation": house.room, "kind": "text", "body": {"text": f"{SAID} one"}}
    receipt = await house.server.call("submit", message, user=house.ada, ref="r1")
    for place in ("body", "preview"):  # it is the newest, then one among others
        edit = {"conversation": house.room, "seq": receipt.seq, "body": {"text": f"{SAID} {place}"}}
        await house.server.call("message.edit", edit, user=house.ada, ref=place)
        await house.call(house.bob, "message.react", conversation=house.room, seq=receipt.seq, emoji="👍", on=True)
        again = await house.server.call("message.edit", edit, user=house.ada, ref=place)
        assert again.body == {"text": f"{SAID} {place}"}
        await house.submit(house.bob, "text", text="more")
    assert await thief.finds(SAID)
    await house.call(house.ada, "message.recall", conversation=house.room, seq=receipt.seq)
    assert await thief.finds(SAID) == []
    hashes = select(schema.message.c.hash).where(schema.message.c.sender == house.ada, schema.message.c.kind == "text")
    rows = await house.server.database.read(lambda connection: connection.execute(hashes).all())
    assert [bytes(row.hash) for row in rows] == [b""]  # a short text could be guessed from it
    # A client that never heard of its receipt gets it still; what is asked again is answered as it is now.
    assert await house.server.call("submit", message, user=house.ada, ref="r1") == receipt
    edited = await house.server.call("message.edit", edit, user=house.ada, ref=place)
    assert (edited.seq, edited.recalled.by) == (receipt.seq, house.ada)
