"""Addresses from before they belonged to logins find theirs; a dead one goes, and its successor does not."""

from __future__ import annotations

import importlib
from typing import Any

from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from attrs import evolve
from chat_server.store import push_addresses
from chat_server.store.account_schema import login, push_address
from chat_server.store.push_addresses import MOST
from sqlalchemy import Connection, create_engine, insert, select, text

from tests.chat_server.house import House, Store
from tests.services.postgresql import psycopg_url

FAR = 10**15


def logins(connection: Connection, *rows: dict[str, Any]) -> None:
    for row in rows:
        connection.execute(insert(login), {"expires_at": FAR} | row)


def test_what_devices_had_subscribed_goes_to_their_newest_login_that_lives(store: Store) -> None:
    engine = create_engine(psycopg_url(store.url) if store.url else f"sqlite:///{store.folder / 'chat.db'}")
    revision: Any = importlib.import_module("chat_server.store.migrations.server_0012")
    with engine.begin() as connection, Operations.context(MigrationContext.configure(connection)):
        revision.downgrade()
        logins(
            connection,
            {"login": "old", "user": "ada", "device": "phone", "created_at": 1, "ended_at": 2, "ended_by": "kick"},
            {"login": "first", "user": "ada", "device": "phone", "created_at": 3},
            {"login": "second", "user": "ada", "device": "phone", "created_at": 4},
            {"login": "remembered", "user": "ada", "device": "phone", "created_at": 5, "audience": "phone"},
            {"login": "bob's", "user": "bob", "device": "phone", "created_at": 6},
            {"login": "out", "user": "bob", "device": "desk", "created_at": 7, "ended_at": 8, "ended_by": "logout"},
        )
        for user, device in (("ada", "phone"), ("ada", "made up"), ("bob", "phone"), ("bob", "desk")):
            connection.execute(
                text("INSERT INTO chat_push_subscription VALUES (:user, :device, 'log', '{}')"),
                {"user": user, "device": device},
            )
        revision.upgrade()
        found = connection.execute(select(push_address).order_by(push_address.c.user)).all()
        assert [tuple(row) for row in found] == [("ada", "second", "log", "{}", 4), ("bob", "bob's", "log", "{}", 6)]
        revision.downgrade()
        devices = connection.execute(text('SELECT "user", device FROM chat_push_subscription ORDER BY 1')).all()
        assert [tuple(row) for row in devices] == [("ada", "phone"), ("bob", "phone")]
    engine.dispose()


async def test_a_dead_address_goes_and_its_successor_stays(house: House) -> None:
    def write(connection: Connection) -> None:
        logins(connection, {"login": "one", "user": "ada", "device": "phone"})
        push_addresses.keep(connection, "ada", "one", "log", "[1]", 1)
        (dead,) = push_addresses.of(connection, "ada", 1)
        push_addresses.keep(connection, "ada", "one", "log", "[2]", 2)
        push_addresses.drop_dead(connection, [dead])
        (kept,) = push_addresses.of(connection, "ada", 2)
        assert kept == evolve(dead, address="[2]", subscribed_at=2)
        assert kept.key != dead.key
        push_addresses.drop_dead(connection, [kept])
        assert push_addresses.of(connection, "ada", 2) == []

    await house.database.change(write)


async def test_addresses_of_logins_that_are_over_make_room_first(house: House) -> None:
    def write(connection: Connection) -> None:
        for number in range(MOST + 1):
            name = f"d{number}"
            logins(connection, {"login": name, "user": "ada", "device": name, "expires_at": 50 if number == 5 else FAR})
        for number in range(MOST):
            push_addresses.keep(connection, "ada", f"d{number}", "log", f"[{number}]", number)
        assert len(push_addresses.of(connection, "ada", 49)) == MOST
        push_addresses.keep(connection, "ada", f"d{MOST}", "log", "[]", 100)
        kept = sorted(each.subscribed_at for each in push_addresses.of(connection, "ada", 100))
        assert kept == [0, 1, 2, 3, 4, 6, 7, 8, 9, 100]

    await house.database.change(write)
