"""The chat mounted in somebody's FastAPI application, behind that application's own server."""

from __future__ import annotations

import asyncio
import json
import os
import urllib.request
from pathlib import Path
from typing import Any

from chat_common.client import connect

from tests.support.program import Program
from tests.support.waiting import until

FOLDER = Path(__file__).parents[2] / "examples" / "embedding"


def post(url: str, body: dict[str, Any] | None = None) -> Any:
    request = urllib.request.Request(
        url, json.dumps(body).encode() if body is not None else b"", {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


async def test_people_and_the_application_speak_in_the_mounted_chat(
    tmp_path: Path, unused_tcp_port: int, monkeypatch: Any
) -> None:
    monkeypatch.setitem(os.environ, "CHAT__SERVER__DATA", str(tmp_path / "data"))
    arguments = ["-m", "uvicorn", "--app-dir", str(FOLDER), "--port", str(unused_tcp_port), "app:app"]
    async with Program(*arguments) as program:
        await program.says("Uvicorn running")
        url = f"http://127.0.0.1:{unused_tcp_port}"
        ann = await asyncio.to_thread(post, f"{url}/chat-token?session=ann-session")
        bob = await asyncio.to_thread(post, f"{url}/chat-token?session=bob-session")
        async with connect(f"{url}/chat", bob["token"], whole=True) as client:
            order = {"session": "ann-session", "seller": "bob", "item": "lamp"}
            first = await asyncio.to_thread(post, f"{url}/orders", order)
            again = await asyncio.to_thread(post, f"{url}/orders", order)
            assert first == again == {"seq": 1}
            room = (await client.direct(ann["user"])).conversation
            await until(lambda: len(client.state.room(room).timeline()) == 1)
            assert client.state.room(room).timeline()[0].sender == ann["user"]
            assert (await client.submit(room, "it is yours")).seq == 2
