"""The shop: an order and the message about it commit together or not at all, from SQLAlchemy and from a cursor."""

from __future__ import annotations

import asyncio
import json
import signal
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.server import Server
from tests.support.program import Program
from tests.support.waiting import until

FOLDER = Path(__file__).parents[2] / "examples" / "shop"


async def call(method: str, url: str) -> tuple[int, Any]:
    def work() -> tuple[int, Any]:
        try:
            with urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=30) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    return await asyncio.to_thread(work)


async def test_fastapi(tmp_path: Path, unused_tcp_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_DATABASE", str(tmp_path / "shop.db"))
    monkeypatch.setenv("CHAT_DATA", str(tmp_path / "chat"))
    url = f"http://127.0.0.1:{unused_tcp_port}"
    arguments = ["-m", "uvicorn", "--app-dir", str(FOLDER), "--port", str(unused_tcp_port), "fastapi_shop:app"]
    async with Program(*arguments) as program:
        await program.says("Uvicorn running")
        assert await call("POST", f"{url}/orders?buyer=ann&item=lamp&card=ok") == (200, {"order": 1})
        assert (await call("POST", f"{url}/orders?buyer=ann&item=lamp&card=declined"))[0] == 402
        assert await call("POST", f"{url}/orders?buyer=ann&item=chair&card=ok") == (200, {"order": 2})

        async def said() -> bool:
            return len((await call("GET", f"{url}/messages?buyer=ann"))[1]) >= 2

        await until(said)
        assert sorted((await call("GET", f"{url}/messages?buyer=ann"))[1]) == [
            "Your order 1 (lamp) is on its way.",
            "Your order 2 (chair) is on its way.",
        ]
        orders = (await call("GET", f"{url}/orders"))[1]
        assert [(order["id"], order["item"]) for order in orders] == [(1, "lamp"), (2, "chair")]


async def test_django(tmp_path: Path, server: Server, unused_tcp_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_DATABASE", str(tmp_path / "shop.db"))
    monkeypatch.setenv("CHAT_URL", server.url.rstrip("/"))
    url = f"http://127.0.0.1:{unused_tcp_port}"
    async with Program(str(FOLDER / "relay.py"), "meet", "ann") as meet:
        await meet.says("ann is a customer")
        await meet.ended()
    async with Program(str(FOLDER / "django_shop.py"), "runserver", "--noreload", str(unused_tcp_port)) as shop:
        await shop.says("Starting development server")
        async with Program(str(FOLDER / "relay.py")) as relay:
            await relay.says("relaying")
            assert await call("POST", f"{url}/orders?buyer=ann&item=lamp&card=ok") == (200, {"order": 1})
            assert (await call("POST", f"{url}/orders?buyer=ann&item=lamp&card=declined"))[0] == 402
            await until(lambda: history(server, 1))
            await relay.stop(signal.SIGKILL)
        assert await call("POST", f"{url}/orders?buyer=ann&item=chair&card=ok") == (200, {"order": 2})
        async with Program(str(FOLDER / "relay.py")) as relay:
            await relay.says("relaying")
            await until(lambda: history(server, 2), 30)
        orders = (await call("GET", f"{url}/orders"))[1]["orders"]
        assert [order["item"] for order in orders] == ["lamp", "chair"]


async def history(server: Server, count: int) -> bool:
    """Whether the customer has got exactly the messages of the first ``count`` orders, each once."""

    def ask(command: str, params: dict[str, Any], token: str = "") -> Any:
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
        request = urllib.request.Request(f"{server.url}api/{command}", json.dumps(params).encode(), headers)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def work() -> bool:
        token = ask("auth.dev", {"name": "ann"})["token"]
        talks = ask("inbox.list", {}, token)["inbox"]
        if not talks:
            return False
        page = ask("history", {"conversation": talks[0]["conversation"]}, token)
        words = sorted(message["body"]["text"] for message in page["messages"])
        wanted = ["Your order 1 (lamp) is on its way.", "Your order 2 (chair) is on its way."][:count]
        assert len(words) <= count, words
        return words == wanted

    return await asyncio.to_thread(work)
