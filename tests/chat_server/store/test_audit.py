from __future__ import annotations

from chat_server.store import audit
from chat_server.store.account_schema import audit as table
from sqlalchemy import select

from tests.chat_server.house import House


async def test_notes_are_forgotten_after_their_time_and_not_before(house: House) -> None:
    now = house.clock.wall_ms()
    old, young = now - audit.KEPT_MS - 1, now - audit.KEPT_MS
    for time, subject in ((old, "old"), (old, "older"), (young, "young")):
        await house.database.change(
            lambda connection, time=time, subject=subject: audit.note(connection, time, "me", "act", subject)  # type: ignore[misc]
        )
    assert await house.database.change(lambda connection: audit.forget_notes(connection, now, limit=1)) == 1
    await house.rooms.tidy()
    assert [row.subject for row in await house.rows(select(table))] == ["young"]


async def test_a_note_holds_what_is_known_and_an_act_is_found_by_its_beginning(house: House) -> None:
    for act in ("user.ban", "user_ban", "username"):
        await house.database.change(lambda connection, act=act: audit.note(connection, 1, "me", act, "x", a=None, b=2))  # type: ignore[misc]
    found = await house.database.read(lambda connection: audit.notes(connection, act="user"))
    assert [(each.act, each.details) for each in found] == [("user.ban", {"b": 2})]
