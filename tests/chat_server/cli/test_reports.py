"""The operator's commands about reports, beside a running server."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from chat_server.cli import main
from click.testing import CliRunner, Result

from tests.chat_server.auth.screens import site
from tests.support.waiting import until


async def test_a_running_server_takes_what_the_console_does_with_reports(tmp_path: Path) -> None:
    def run(*words: str) -> Result:
        return CliRunner().invoke(main, ["--data", str(tmp_path), *words], env={})

    async def beside(*words: str) -> Any:
        result = await asyncio.to_thread(run, "report", *words, "--json")
        assert result.exit_code == 0, result.output
        return json.loads(result.output)

    async with site(tmp_path) as here:
        ada, bert, carl = [(await here.call("auth.dev", name=name)).json() for name in ("ada", "bert", "carl")]
        users = [each["user"]["user"] for each in (ada, bert, carl)]
        room = (await here.call("direct.open", ada["token"], user=users[1])).json()["conversation"]

        async def said(text: str) -> int:
            body = {"conversation": room, "kind": "text", "body": {"text": text}}
            return int((await here.call("submit", ada["token"], **body)).json()["seq"])

        async def reported(seq: int) -> str:
            answer = await here.call("message.report", bert["token"], conversation=room, seq=seq, reason="see yourself")
            return str(answer.json()["report"])

        down, nothing, rude = [await reported(await said(text)) for text in ("very rude", "harmless", "rude again")]
        bad = (await here.call("user.report", bert["token"], user=users[2], category="spam")).json()["report"]
        listed = await beside("list", "--about", "ada")
        assert {each["report"]: each["preview"]["text"] for each in listed} == {
            down: "very rude",
            nothing: "harmless",
            rude: "rude again",
        }
        assert "[text] harmless" in (await asyncio.to_thread(run, "report", "list")).output
        shown = await asyncio.to_thread(run, "report", "show", down)
        assert "reason    see yourself" in shown.output
        assert "says      [text] very rude" in shown.output

        taken = await beside("takedown", down, "--note", "rude")
        assert (taken["report"]["outcome"], taken["report"]["note"]) == ("taken_down", "rude")
        history = (await here.call("history", bert["token"], conversation=room)).json()["messages"]
        assert [each.get("recalled", {}).get("by") for each in history] == ["@moderators", None, None]
        wrong = await asyncio.to_thread(run, "report", "takedown", bad)
        assert (wrong.exit_code, "about a user and no message" in wrong.output) == (1, True)

        assert (await beside("dismiss", nothing))["report"]["outcome"] == "dismissed"
        assert (await beside("warn", rude, "Please be kind."))["report"]["outcome"] == "warned"

        async def warned() -> bool:
            inbox = (await here.call("inbox.list", ada["token"])).json()["inbox"]
            return "Moderator" in [each["peer"]["name"] for each in inbox]

        await until(warned, what="the running server carries out what the console has committed")

        banned = await beside("ban", bad, "--for", "7d")
        assert banned["report"]["outcome"] == "banned"
        assert (await here.call("auth.dev", name="carl")).status_code == 403
        assert await beside("list") == []
        assert len(await beside("list", "--closed")) == 4
        assert "(taken down)" in (await asyncio.to_thread(run, "report", "list", "--closed")).output
        missing = await asyncio.to_thread(run, "report", "dismiss", "nothing")
        assert (missing.exit_code, missing.output) == (1, "Error: This report does not exist.\n")
