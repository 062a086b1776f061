"""The operator's commands about accounts, on an empty folder and beside a running server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from chat_common.protocol.frames import Device, Hello, Welcome
from chat_server.cli import main
from click.testing import CliRunner, Result

from tests.chat_server.auth.screens import site
from tests.support.raw import raw

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    def run(*words: str, stdin: str | None = None) -> Result:
        return CliRunner().invoke(main, ["--data", str(tmp_path), *words], env={}, input=stdin)

    return run


def answered(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.output)


def test_the_first_admin_is_made_before_the_first_start(run: Run) -> None:
    made = answered(run("user", "add", "ada", "--role", "admin", "--json"))
    assert (made["name"], made["role"], made["logs_in"]) == ("ada", "admin", ["password ada"])
    assert len(made["password"]) >= 12
    assert run("user", "list").output.split()[0] == made["user"]
    assert answered(run("user", "show", "ada", "--json"))["user"] == made["user"]
    noted = answered(run("audit", "--json"))
    assert [(each["act"], each["subject"]) for each in noted] == [("user.add", made["user"])]
    assert noted[0]["actor"].startswith("console:")
    assert made["password"] not in run("audit").output


def test_a_password_comes_from_stdin_and_is_not_shown(run: Run) -> None:
    result = run("user", "add", "ada", "--password-stdin", stdin="correct horse\n")
    assert result.exit_code == 0
    assert "correct horse" not in result.output
    changed = answered(run("user", "passwd", "ada", "--password-stdin", "--json", stdin="another one\n"))
    assert "password" not in changed


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["user", "show", "nobody"], "This user 'nobody' does not exist."),
        (["user", "add", " "], "NAME: 1 to 64 characters"),
        (["user", "add", "ada", "--role", "queen"], "'queen' is not one of 'user', 'admin'"),
        (["user", "ban", "ada", "--for", "soon"], "such as 12h, 7d or 4w"),
        (["user", "passwd", "ada", "--password-stdin"], "8 to 256 characters"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(run: Run, words: list[str], message: str) -> None:
    run("user", "add", "ada")
    result = run(*words, stdin="short\n")
    assert result.exit_code != 0
    assert message in result.output
    assert "Traceback" not in result.output


async def test_a_running_server_takes_what_the_console_does(run: Run, tmp_path: Path) -> None:
    async def beside(*words: str, stdin: str | None = None) -> Any:
        return answered(await asyncio.to_thread(run, *words, "--json", stdin=stdin))

    async with site(tmp_path) as here, raw(here.url) as client, raw(here.url) as friend:
        ada = await beside("user", "add", "ada", "--password-stdin", stdin="correct horse\n")
        bert = await beside("user", "add", "bert", "--password-stdin", stdin="correct horse\n")
        for name, one in (("ada", client), ("bert", friend)):
            answer = (await here.call("auth.password", name=name, password="correct horse", device=name)).json()
            await one.send(Hello(Device(name, "web"), answer["token"]))
            assert (await one.next(Welcome)).user.user == {"ada": ada, "bert": bert}[name]["user"]  # type: ignore[union-attr]
        await client.call("direct.open", {"user": bert["user"]})
        await beside("user", "rename", "ada", "Ada L.")
        assert (await client.call("user.me"))["name"] == "Ada L."
        banned = await beside("user", "ban", "ada", "--for", "2h", "--reason", "spam")
        assert banned["ban"]["reason"] == "spam"
        assert await client.closed() == 4403
        assert (await here.call("auth.password", name="ada", password="correct horse")).status_code == 403
        assert "ban" not in await beside("user", "unban", "ada")
        assert (await here.call("auth.password", name="ada", password="correct horse")).status_code == 200
        assert [each["user"] for each in await beside("user", "list", "--query", "be")] == [bert["user"]]
        await beside("user", "role", "bert", "admin")
        assert (await friend.call("admin.user.show", {"user": ada["user"]}))["name"] == "Ada L."
        await beside("user", "logout", "bert")
        assert await friend.closed() == 4401


async def test_an_account_is_deleted_beside_a_running_server(tmp_path: Path) -> None:
    async def beside(*words: str) -> Any:
        arguments = ["--data", str(tmp_path), "user", *words, "--json"]
        return answered(await asyncio.to_thread(CliRunner().invoke, main, arguments, env={}))

    async with site(tmp_path) as here:
        ada = await here.server.ensure_user("ada", "Ada")
        await here.server.call("direct.open", {"user": ada.user}, user=ada.user)
        async with raw(here.url) as client:
            await client.send(Hello(Device("d1", "web"), await here.server.issue_token(ada.user)))
            await client.next(Welcome)
            gone = await beside("delete", "Ada")
            assert (gone["user"], gone["done"]) == (ada.user, True)
            assert await client.closed() == 4401
        assert (await beside("delete", ada.user, "--messages"))["done"]
        assert (await beside("show", ada.user))["deleted_at"] == gone["deleted_at"]
        assert await beside("list") == []
