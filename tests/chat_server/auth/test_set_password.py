"""A password is set and changed by its owner, and what that ends."""

from __future__ import annotations

from pathlib import Path

from chat_server.store.schema import reply
from sqlalchemy import select

from tests.chat_server.auth.screens import site

GOOD = "correct horse"


async def test_a_password_is_set_and_changed_by_its_owner(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        ada = (await here.call("auth.dev", name="Ada")).json()["token"]
        assert (await here.call("auth.password.set", ada, password=GOOD)).json() == {"name": "ada"}
        assert (await here.call("auth.password", name="Ada", password=GOOD)).status_code == 200
        for old in ({}, {"old": "wrong horse"}):
            answer = await here.call("auth.password.set", ada, password="another horse", **old)
            assert (answer.status_code, answer.json()["field"]) == (401, "old")
        for _ in range(2):  # a client that did not hear the answer asks again
            answer = await here.call("auth.password.set", ada, password="another horse", old=GOOD)
            assert answer.status_code == 200
        assert (await here.call("auth.password", name="Ada", password=GOOD)).status_code == 401
        assert (await here.call("auth.password", name="Ada", password="another horse")).status_code == 200
        kept = await here.server.database.read(lambda connection: connection.execute(select(reply)).all())
        assert kept == []  # a kept reply has a hash of its request, from which a password could be guessed
