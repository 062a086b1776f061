"""The operator's commands about groups, beside a running server."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from chat_server.cli import main
from click.testing import CliRunner, Result

from tests.chat_server.auth.screens import site


async def test_a_running_server_takes_what_the_console_does_with_groups(tmp_path: Path) -> None:
    def run(*words: str) -> Result:
        return CliRunner().invoke(main, ["--data", str(tmp_path), "group", *words], env={})

    async def beside(*words: str) -> Any:
        result = await asyncio.to_thread(run, *words, "--json")
        assert result.exit_code == 0, result.output
        return json.loads(result.output)

    async with site(tmp_path) as here:
        ada, bert = [(await here.call("auth.dev", name=name)).json() for name in ("ada", "bert")]
        made = await here.call("group.create", ada["token"], name="Round", members=[bert["user"]["user"]])
        group = made.json()["conversation"]
        assert [each["conversation"] for each in await beside("list", "--user", "bert")] == [group]
        assert (await beside("owner", group, "bert"))["owner"] == bert["user"]["user"]
        renamed = await here.call("group.dissolve", ada["token"], conversation=group)
        assert renamed.status_code == 403, "ada does not own it any more"
        shown = (await asyncio.to_thread(run, "show", group)).output
        assert f"owner     {bert['user']['user']}" in shown
        assert (await beside("retention", group, "30"))["kept_days"] == 30
        assert "kept      for ever" in (await asyncio.to_thread(run, "retention", group, "forever")).output
        assert "kept_days" not in await beside("retention", group, "default")
        for wrong in ("0", "36501", "soon"):
            said = await asyncio.to_thread(run, "retention", group, wrong)
            assert (said.exit_code, "from 1 to 36500" in said.output) == (2, True)
        assert (await beside("dissolve", group))["dissolved"]
        assert "dissolved" in (await asyncio.to_thread(run, "list")).output
        missing = await asyncio.to_thread(run, "show", "nothing")
        assert (missing.exit_code, missing.output) == (1, "Error: This group does not exist.\n")
