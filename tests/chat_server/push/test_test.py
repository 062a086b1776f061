"""``chat-server push test``: each device of a user, and what its platform answers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from chat_server.cli import main
from chat_server.store.account_schema import login, push_address
from click.testing import CliRunner, Result
from sqlalchemy import create_engine


def run(data: Path, *words: str, env: Mapping[str, str] | None = None) -> Result:
    return CliRunner().invoke(main, [*words, "--data", str(data)], env=env)


def test_it_says_of_each_device_what_became_of_it(tmp_path: Path) -> None:
    chosen = {"CHAT__PORTS__PUSH_PROVIDER": "log"}
    assert run(tmp_path, "user", "list").exit_code == 0  # makes the tables
    refused = run(tmp_path, "push", "test", "ada")
    assert refused.exit_code == 1
    assert "No push provider is chosen" in refused.output
    nobody = run(tmp_path, "push", "test", "ada", env=chosen)
    assert (nobody.exit_code, nobody.output) == (1, "ada has no device that is told while away\n")
    engine = create_engine(f"sqlite:///{tmp_path / 'chat.db'}")
    with engine.begin() as connection:
        for number, provider in enumerate(("log", "webpush")):
            family = {"user": "ada", "login": f"l{number}"}
            connection.execute(login.insert().values(family | {"device": f"d{number}", "expires_at": 10**15}))
            address = {"provider": provider, "address": "{}", "subscribed_at": -number}
            connection.execute(push_address.insert().values(family | address))
    engine.dispose()
    told = run(tmp_path, "push", "test", "ada", env=chosen)
    assert told.exit_code == 0, told.output
    assert re.search(r"^d0  log  delivered$", told.output, re.MULTILINE)
    assert "d1  webpush  this provider is not chosen\n" in told.output
