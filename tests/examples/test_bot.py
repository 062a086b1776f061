"""The echo bot answers each message once, whatever is killed in between."""

from __future__ import annotations

import signal
from pathlib import Path

from chat_common.client import connect, dev_login

from tests.e2e.server import Server
from tests.support.program import Program
from tests.support.waiting import until

SCRIPT = str(Path(__file__).parents[2] / "examples" / "bot" / "bot.py")


async def test_it_says_again_what_it_hears_once(server: Server) -> None:
    login = await dev_login(server.url, "ann")
    echo = await dev_login(server.url, "echo")
    async with connect(server.url, login.token, whole=True) as ann:
        room = (await ann.direct(echo.user.user)).conversation

        def heard() -> list[str]:
            messages = ann.state.room(room).timeline()
            return [message.body["text"] for message in messages if message.sender == echo.user.user]

        await ann.submit(room, "before it came")
        async with Program(SCRIPT, server.url) as bot:
            await bot.says("echo listens")
            await until(lambda: heard() == ["echo: before it came"])
            await ann.submit(room, "one")
            await until(lambda: heard()[-1] == "echo: one")
            await server.stop(signal.SIGKILL)
            await server.start()
            await ann.submit(room, "two")
            await until(lambda: heard()[-1] == "echo: two")
            await bot.stop(signal.SIGKILL)
        await ann.submit(room, "three")
        async with Program(SCRIPT, server.url):
            await until(lambda: heard()[-1] == "echo: three")
            group = (await ann.group("both", [echo.user.user])).conversation
            await ann.submit(group, "in a group")
            await until(lambda: any("echo: in a group" in str(m.body) for m in ann.state.room(group).timeline()))
        assert heard() == [f"echo: {said}" for said in ("before it came", "one", "two", "three")]
