"""Pictures of profiles: uploaded as other files, worn by their user, seen by everybody who sees the user."""

from __future__ import annotations

from typing import Any

import pytest
from chat_server.store.account_schema import ban
from sqlalchemy import insert

from tests.chat_oss import pictures
from tests.chat_server.files.test_files import House, stored
from tests.chat_server.files.test_files import house as house

BIG = pictures.jpeg(1600, 1600)


async def uploaded(house: House, user: str, data: bytes = BIG, type: str = "image/jpeg") -> str:
    begun = await house.call(user, "upload.begin", name="me.jpg", type=type, size=len(data))
    put = await house.web.put(begun.put.url, headers=begun.put.headers, content=data)
    assert put.status_code == 200
    return str((await house.call(user, "upload.finish", file=begun.file)).file)


async def shown(house: House, address: str) -> Any:
    """As a browser does, with nothing but the address."""
    first = await house.web.get(address)
    assert first.status_code == 302
    assert first.headers["cache-control"] == "private, max-age=270"
    assert first.headers["location"].startswith("../objects/")
    return await house.web.get(first.headers["location"].removeprefix("../"))


async def test_a_picture_is_worn_in_two_sizes_without_its_place(house: House) -> None:
    file = await uploaded(house, house.ada)
    worn = (await house.call(house.ada, "user.avatar", file=file)).user
    assert worn.avatar == f"avatars/{file}"
    [seen] = (await house.call(house.bob, "user.get", users=[house.ada])).users
    assert seen.avatar == worn.avatar
    for query, side in (("", 320), ("?size=large", 1280)):
        answer = await shown(house, f"{worn.avatar}{query}")
        assert answer.status_code == 200
        assert pictures.SECRET not in answer.content
        assert pictures.reopened(answer.content).size == (side, side)


async def test_a_small_picture_is_shown_as_it_is_where_a_large_one_is_asked_for(house: House) -> None:
    file = await uploaded(house, house.ada, pictures.jpeg(600, 600))
    await house.call(house.ada, "user.avatar", file=file)
    assert pictures.reopened((await shown(house, f"avatars/{file}?size=large")).content).size == (600, 600)


async def test_the_former_picture_goes_and_none_may_be_worn(house: House) -> None:
    first = await uploaded(house, house.ada)
    await house.call(house.ada, "user.avatar", file=first)
    second = await uploaded(house, house.ada, pictures.jpeg(500, 500))
    await house.call(house.ada, "user.avatar", file=second)
    assert (await house.web.get(f"avatars/{first}")).status_code == 404
    assert (await shown(house, f"avatars/{second}")).status_code == 200
    house.clock.advance(3 * 86_400)
    await house.sweep()
    assert {key.split("/")[2] for key in await stored(house)} == {"original", "small"}, "the second alone, and kept"
    nothing = (await house.call(house.ada, "user.avatar", file=None)).user
    assert not isinstance(nothing.avatar, str)
    await house.sweep()
    assert await stored(house) == []


async def test_only_a_finished_picture_of_ones_own_that_was_meant_for_it_is_worn(house: House) -> None:
    theirs = await uploaded(house, house.bob)
    for_the_room = (await house.upload(house.ada, BIG, "image/jpeg")).file
    begun = await house.call(house.ada, "upload.begin", name="a", type="image/png", size=9)
    for file in (theirs, for_the_room, begun.file, "guessed"):
        assert await house.refused(house.ada, "user.avatar", file=file) == ("not_found", "file")
    assert await house.refused(house.ada, "upload.begin", name="a", type="text/plain", size=9) == ("invalid", "type")
    own = await uploaded(house, house.ada)
    assert (await house.web.get(f"avatars/{own}")).status_code == 404, "nobody wears it yet"
    assert (await house.web.get(f"avatars/{for_the_room}")).status_code == 404
    body = {"conversation": house.room, "kind": "image", "body": {"file": own}}
    assert await house.refused(house.ada, "submit", **body) == ("not_found", "body.file")
    await house.call(house.ada, "user.avatar", file=own)
    assert await house.urls(house.ada, own) == []


@pytest.mark.parametrize("place", ["profile:{bob}", "profile:{ada}"])
async def test_nothing_is_sent_to_a_profile_by_its_name(place: str, house: House) -> None:
    begin = {"name": "a", "type": "text/plain", "size": 9, "conversation": place.format(ada=house.ada, bob=house.bob)}
    assert (await house.refused(house.ada, "upload.begin", **begin))[0] in ("not_found", "invalid")


async def test_who_is_banned_changes_no_picture(house: House) -> None:
    await house.server.database.change(
        lambda connection: connection.execute(insert(ban).values(user=house.ada)).rowcount
    )
    assert (await house.refused(house.ada, "upload.begin", name="a", type="image/png", size=9))[0] == "not_permitted"
