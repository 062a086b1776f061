"""The table of rights, cell by cell: role × action × relation, each against a copy of one prepared database."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from chat_common.errors import ChatError
from chat_common.records import Caller
from chat_server.logic.settings import GroupSettings, LogicSettings
from chat_server.services import Speaker
from chat_server.store import rights
from chat_server.store.account_schema import ban

from tests.chat_server.house import House, Store, fresh_sqlite, opened
from tests.chat_server.rights_table import ACTIONS, PAGE, RELATIONS, Action, page

FRIENDS = ("admin", "member", "muted", "banned", "left", "kicked", "CAT", "DAN")
SETTINGS = LogicSettings(GroupSettings(strangers="ask"))
Names = dict[str, Any]


async def build(store: Store) -> Names:
    """One group in which somebody stands in each relation, and a direct chat in which the owner has blocked one."""
    async with opened(store, logic=SETTINGS) as house:
        names: Names = {name: await house.user(name) for name in (*RELATIONS, "CAT", "DAN") if name != "guest"}
        owner = names["owner"]
        for friend in FRIENDS:
            await house.call(owner, "contact.request", user=names[friend])
            await house.call(names[friend], "contact.accept", user=owner)
        inside = [name for name in FRIENDS if name != "DAN"]
        room = names["ROOM"] = await house.group(owner, *(names[name] for name in inside), names["pending"])
        own = {}
        for name in ("owner", *inside):
            own[name] = (await house.say(names[name], room))["seq"]
        names["SEQS"] = own
        await house.call(owner, "group.role", conversation=room, user=names["admin"], role="admin")
        await house.call(owner, "group.mute", conversation=room, user=names["muted"], until=2**50)
        await house.call(names["left"], "group.leave", conversation=room)
        await house.call(owner, "group.kick", conversation=room, users=[names["kicked"]])
        names["LINK"] = (await house.call(owner, "group.link", conversation=room, on=True))["link"]
        chat = names["CHAT"] = (await house.call(names["blocked"], "direct.open", user=owner))["conversation"]
        own["blocked"] = (await house.say(names["blocked"], chat))["seq"]
        names["THERE"] = (await house.say(owner, chat))["seq"]
        await house.call(owner, "contact.block", user=names["blocked"], on=True)
        banned = {"user": names["banned"], "until": None}
        await house.database.change(lambda connection: connection.execute(ban.insert(), banned))
        names["EPOCH"] = house.rooms.epoch
        return names


@pytest.fixture(scope="module")
def prepared(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Names]:
    folder = tmp_path_factory.mktemp("rights")
    with fresh_sqlite(sqlite_template, folder / "data") as store:
        names = asyncio.run(build(store))
    return folder / "data" / "chat.db", names


def filled(value: Any, names: Mapping[str, Any]) -> Any:
    if isinstance(value, dict):
        return {key: filled(each, names) for key, each in value.items()}
    if isinstance(value, list):
        return [filled(each, names) for each in value]
    return names.get(value, value) if isinstance(value, str) else value


async def answer(house: House, action: Action, relation: str, names: Names) -> str:
    direct = relation == "blocked"
    place = names["CHAT"] if direct else names["ROOM"]
    own, other = names["SEQS"].get(relation, 1), names["THERE"] if direct else names["SEQS"]["CAT"]
    places = {name: value for name, value in names.items() if name.isupper()}
    params = filled(dict(action.params), {**places, "OWN": own, "OTHER": other})
    user = names.get(relation)
    now = house.clock.wall_ms()
    try:
        if action.command == "upload":
            await house.database.read(lambda connection: rights.may_send(connection, user or "", place, now))
        elif action.command == "typing":
            await house.rooms.im.audience(Speaker(user or "", place))
        else:
            if "link" not in params:
                params["conversation"] = place
            await house.pipeline.call(Caller(user, f"ref {relation}"), action.command, params)
    except ChatError as error:
        return error.code
    return "ok"


@pytest.mark.parametrize("action", ACTIONS, ids=[action.title for action in ACTIONS])
async def test_every_cell_is_as_the_table_says(action: Action, prepared: tuple[Path, Names], tmp_path: Path) -> None:
    database, names = prepared
    cells = {relation: action.code(relation) for relation in RELATIONS if action.code(relation)}
    # What is refused changes nothing, so those share a copy; whoever may gets a fresh one.
    turns = [[relation for relation, code in cells.items() if code != "ok"]]
    turns += [[relation] for relation, code in cells.items() if code == "ok"]
    found = {}
    for number, relations in enumerate(turns):
        folder = tmp_path / str(number)
        folder.mkdir()
        shutil.copyfile(database, folder / "chat.db")
        async with opened(Store("sqlite", folder), logic=SETTINGS) as house:
            for relation in relations:
                found[relation] = await answer(house, action, relation, names)
    assert found == cells


def test_the_page_is_what_the_table_says() -> None:
    assert PAGE.read_text("utf-8") == page(), "run python -m tests.chat_server.rights_table"
    assert all(len(action.cells) == len(RELATIONS) for action in ACTIONS)
