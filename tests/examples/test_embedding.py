"""The chat mounted in somebody's FastAPI application, behind that application's own server."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import httpx2
import msgspec
from chat_common.client import connect
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as websocket
from websockets.exceptions import ConnectionClosed

from tests.support.frames import frames
from tests.support.program import Program
from tests.support.waiting import until

FOLDER = Path(__file__).parents[2] / "examples" / "embedding"
ANN, BOB = {"cookie": "session=ann-session"}, {"cookie": "session=bob-session"}


async def test_the_applications_own_login_is_the_chats_and_its_end_the_clients_goodbye(
    tmp_path: Path, unused_tcp_port: int, monkeypatch: Any
) -> None:
    monkeypatch.setitem(os.environ, "CHAT__SERVER__DATA", str(tmp_path / "data"))
    arguments = ["-m", "uvicorn", "--app-dir", str(FOLDER), "--port", str(unused_tcp_port), "app:app"]
    url = f"http://127.0.0.1:{unused_tcp_port}"
    async with Program(*arguments) as program, httpx2.AsyncClient(base_url=url) as web:
        await program.says("Uvicorn running")

        async def post(path: str, body: Any = None, **headers: str) -> Any:
            answer = await web.post(path, json=body or {}, headers=headers)
            return answer.json() if answer.status_code == 200 else answer.status_code

        assert (await post("/chat/api/user.me", **ANN))["name"] == "Ann"
        assert await post("/chat/api/user.me") == 401
        assert await post("/chat/api/user.me", **ANN, origin="https://evil.example") == 403
        bob = await post("/chat-token", **BOB)
        async with connect(f"{url}/chat", bob["token"], whole=True) as client:
            order = {"number": 7, "seller": "43", "item": "lamp"}
            assert await post("/orders", order) == 401
            first, again = await post("/orders", order, **ANN), await post("/orders", order, **ANN)
            assert first == again == {"seq": 1}
            ann = (await post("/chat/api/user.me", **ANN))["user"]
            room = (await client.direct(ann)).conversation
            await until(lambda: len(client.state.room(room).timeline()) == 1)
            assert client.state.room(room).timeline()[0].sender == ann
            async with websocket(f"ws{url[4:]}/chat/ws", additional_headers=ANN) as socket:
                hello = {"op": "hello", "device": {"id": "tab", "platform": "web"}}
                await socket.send(msgspec.json.encode(hello).decode())
                welcome = (await frames(socket))[0]
                assert (welcome["op"], welcome["user"]["user"]) == ("welcome", ann)
                assert (await client.submit(room, "it is yours")).seq == 2
                pushed = [each for each in await frames(socket) if each["op"] == "push"]
                assert pushed[0]["data"]["body"] == {"text": "it is yours"}
                assert program.process is not None
                program.process.send_signal(signal.SIGTERM)
                said = await rest(socket)
                assert socket.close_code == 4000
                assert (said[-1]["op"], said[-1]["code"]) == ("bye", 4000)


async def rest(socket: ClientConnection) -> list[dict[str, Any]]:
    """What is said until the end of the connection."""
    said: list[dict[str, Any]] = []
    while True:
        try:
            said += await frames(socket)
        except ConnectionClosed:
            return said
