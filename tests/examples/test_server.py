"""The server script with its plugin is a whole server: people chat on it, and the plugin has its say."""

from __future__ import annotations

from pathlib import Path

import pytest
from chat_common.client import connect, dev_login
from chat_common.errors import NotPermitted

from tests.support.program import Program

FOLDER = Path(__file__).parents[2] / "examples" / "server"


async def test_the_script_serves_and_its_plugin_speaks(tmp_path: Path, unused_tcp_port: int) -> None:
    script = (FOLDER / "serve.py").read_text()
    assert "8080" in script
    mine = tmp_path / "serve.py"
    mine.write_text(script.replace("8080", str(unused_tcp_port)).replace('"chat-data"', repr(str(tmp_path / "data"))))
    (tmp_path / "politeness.py").write_text((FOLDER / "politeness.py").read_text())
    async with Program(str(mine)) as program:
        await program.says("http://")
        url = f"http://127.0.0.1:{unused_tcp_port}"
        ann, bob = await dev_login(url, "ann"), await dev_login(url, "bob")
        async with connect(url, ann.token) as client:
            room = (await client.direct(bob.user.user)).conversation
            assert (await client.submit(room, "good morning")).seq == 1
            with pytest.raises(NotPermitted, match="do not shout"):
                await client.submit(room, "GOOD MORNING")
            assert await client.call("politeness.count", {}) == {"stopped": 1}
            assert (await client.submit(room, "sorry")).seq == 2
