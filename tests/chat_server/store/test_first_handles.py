"""Accounts from before there were handles get one each, and log in as they did."""

from __future__ import annotations

from typing import Any

from chat_common.ports.identity import Attempt
from chat_server.admin.deletion import DeleteUser
from chat_server.auth.hashing import Hasher
from chat_server.auth.passwords import PasswordCredentials, PasswordIdentity
from chat_server.auth.settings import AuthSettings
from chat_server.names.confusables import skeleton
from chat_server.store import audit
from chat_server.store.account_schema import identity
from chat_server.store.first_handles import ACT, PORTION, give_all, give_portion, moved
from chat_server.store.schema import user
from sqlalchemy import insert, select, update

from tests.chat_server.house import House


def old(rows: list[tuple[str, str, str | None]]) -> Any:
    """Accounts as they were: id, name, and what they log in by with a password."""

    def write(connection: Any) -> None:
        connection.execute(
            insert(user), [{"user": who, "name": name, "folded": name.casefold()} for who, name, _ in rows]
        )
        ways = [
            {"provider": "password", "subject": subject, "user": who, "secret": "x"}
            for who, _, subject in rows
            if subject
        ]
        connection.execute(insert(identity), ways)

    return write


async def handles(house: House) -> dict[str, str]:
    rows = await house.rows(select(user.c.user, user.c.handle, user.c.skeleton))
    assert all(row.skeleton == skeleton(row.handle) for row in rows)
    return {row.user: row.handle for row in rows}


async def test_whoever_has_a_password_keeps_what_he_logs_in_by(house: House) -> None:
    await house.database.change(
        old(
            [
                ("a", "Ada", None),
                ("b", "Somebody", "ada"),
                ("c", "Ada Lovelace", "ada lovelace"),
                ("d", "小明", "小明"),
                ("e", "Admin", "admin"),
                ("f", "👍", "👍"),
                ("g", "Emma", "emma"),
                ("h", "Ernma", "ernma"),
            ]
        )
    )
    await house.database.change(give_all)
    found = await handles(house)
    assert (found["b"], found["c"], found["d"], found["e"]) == ("ada", "ada.lovelace", "xiaoming", "admin")
    assert found["a"] == "ada2", "by the display name alone, and that is somebody's handle"
    assert sorted((found["g"], found["h"]))[0] in ("emma", "ernma")
    assert {found["g"], found["h"]} & {"emma2", "ernma2"}, "they look alike"
    assert found["f"].startswith("user")
    named = await house.database.read(lambda connection: audit.notes(connection, act=ACT))
    assert {note.subject for note in named} == {"a", "g" if found["g"] == "emma2" else "h"}
    assert all(note.details == {} for note in named)
    assert set(await house.database.read(lambda connection: moved(connection, 10))) == {
        found[note.subject] for note in named
    }
    assert await house.database.change(give_portion) == 0


async def test_everybody_gets_one_in_portions(house: House) -> None:
    many = [(f"u{number:04}", "Ada" if number % 2 else f"User {number}", None) for number in range(2 * PORTION + 50)]

    def write(connection: Any) -> None:
        connection.execute(insert(user), [{"user": who, "name": name, "folded": name} for who, name, _ in many])

    await house.database.change(write)
    portions = []
    while number := await house.database.change(give_portion):
        portions.append(number)
    assert portions == [PORTION, PORTION, 50]
    found = await handles(house)
    assert len(set(found.values())) == len(found) == 2 * PORTION + 50


async def test_the_login_name_of_before_goes_on_to_be_good(house: House) -> None:
    hasher = Hasher()
    secret = await hasher.hash("correct horse")
    await house.database.change(old([("c", "Ada Lovelace", "ada lovelace")]))
    await house.database.change(
        lambda connection: connection.execute(update(identity).where(identity.c.user == "c").values(secret=secret))
    )
    await house.database.change(give_all)
    passwords = PasswordIdentity(house.database, house.rooms.auth._ports.cache, AuthSettings(), hasher)
    for typed in ("Ada Lovelace", "ada LOVELACE", "ada.lovelace", "@ada.lovelace"):
        proof = await passwords.prove(PasswordCredentials(name=typed, password="correct horse"), Attempt(None))
        assert proof.subject == "ada lovelace"


async def test_a_deleted_account_gets_none_and_frees_its_own(house: House) -> None:
    ada = await house.user("Ada")
    assert await handles(house) == {ada: "ada"}
    await house.rooms.admin.deletions.delete("console:test", DeleteUser(user=ada))
    await house.database.change(give_all)
    gone = await house.rows(select(user.c.handle, user.c.skeleton).where(user.c.user == ada))
    assert [tuple(row) for row in gone] == [(None, None)]
    again = await house.call(ada_again := await house.user("ADA"), "user.me")
    assert (again["user"], again["handle"]) == (ada_again, "ada")
