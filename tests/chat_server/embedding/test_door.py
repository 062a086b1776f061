"""`Server.app` is there before the server is, and after; what it hands out knows where it is mounted."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from chat_common.errors import Unavailable
from chat_server import Server
from chat_server.embedding.home import NotOpen, WrongLoop
from starlette.applications import Starlette
from starlette.routing import Mount

from tests.chat_server.house import Store, fresh_sqlite


@pytest.fixture
def store(sqlite_template: Path, tmp_path: Path) -> Iterator[Store]:
    with fresh_sqlite(sqlite_template, tmp_path / "data") as store:
        yield store


def mounted(store: Store, **settings: Any) -> tuple[Server, Starlette]:
    chat = Server(settings={"server": {"data": str(store.folder)}, **settings})
    return chat, Starlette(routes=[Mount("/chat", chat.app)], lifespan=chat.lifespan)


def page(app: Any) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="https://app.example")


async def test_a_server_that_is_mounted_at_import_time_is_started_again_and_again(store: Store) -> None:
    chat, app = mounted(store)
    async with page(app) as web:
        for _ in range(2):
            closed = await web.post("/chat/api/user.me", json={})
            assert (closed.status_code, closed.headers["retry-after"]) == (503, "2")
            assert closed.json()["retry_after"] == 2
            assert (await web.get("/chat/readyz")).status_code == 503
            async with app.router.lifespan_context(app):
                ann = await chat.ensure_user("42", "Ann")
                bearer = {"authorization": f"Bearer {await chat.issue_token(ann.user)}"}
                assert (await web.post("/chat/api/user.me", json={}, headers=bearer)).json()["name"] == "Ann"
                assert (await web.get("/chat/readyz")).status_code == 200
        assert (await web.get("/chat/readyz")).status_code == 503


async def test_a_websocket_to_a_closed_server_is_turned_away(store: Store) -> None:
    chat, _ = mounted(store)
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    await chat.app({"type": "websocket", "path": "/ws", "headers": []}, receive, send)
    extensions = {"websocket.http.response": {}}
    await chat.app({"type": "websocket", "path": "/ws", "headers": [], "extensions": extensions}, receive, send)
    assert sent[0] == {"type": "websocket.close", "code": 1013, "reason": "the chat server is not open"}
    assert (sent[1]["type"], sent[1]["status"]) == ("websocket.http.response.start", 503)


async def test_an_asgi_server_that_runs_the_application_itself_opens_it(store: Store) -> None:
    chat, _ = mounted(store)
    told: asyncio.Queue[Any] = asyncio.Queue()
    said: asyncio.Queue[Any] = asyncio.Queue()
    running = asyncio.create_task(chat.app({"type": "lifespan"}, told.get, said.put))
    told.put_nowait({"type": "lifespan.startup"})
    assert (await said.get())["type"] == "lifespan.startup.complete"
    assert (await chat.ensure_user("42")).name == "42"
    told.put_nowait({"type": "lifespan.shutdown"})
    assert (await said.get())["type"] == "lifespan.shutdown.complete"
    await running


async def test_where_no_lifespan_runs_the_first_request_starts_it_for_all(store: Store) -> None:
    chat, _ = mounted(store)
    for _ in range(2):
        await asyncio.gather(chat.start(), chat.start())
        assert (await chat.ensure_user("42", "Ann")).name == "Ann"
        await chat.stop()
        with pytest.raises(NotOpen):
            await chat.ensure_user("42")


async def test_a_start_that_fails_says_why_to_all_and_may_be_tried_again(store: Store) -> None:
    chat, _ = mounted(store)
    async with mounted(store)[0]:
        for _ in range(2):
            with pytest.raises(Exception, match="is using the data folder"):
                await chat.start()
    await chat.start()
    await chat.stop()


async def test_one_server_is_entered_once_at_a_time(store: Store) -> None:
    chat, _ = mounted(store)
    with pytest.raises(Unavailable, match="async with server"):
        await chat.call("user.me")
    async with chat:
        with pytest.raises(WrongLoop, match="open already"):
            await chat.__aenter__()
        assert await chat.ensure_user("42")


async def test_documents_name_the_path_of_the_mount_or_the_public_address(store: Store) -> None:
    _, app = mounted(store)
    async with app.router.lifespan_context(app), page(app) as web:
        assert (await web.get("/chat/api/openapi.json")).json()["servers"] == [{"url": "/chat"}]
        assert (await web.get("/chat/api/asyncapi.json")).json()["servers"]["here"]["pathname"] == "/chat"
    _, app = mounted(store, server={"data": str(store.folder), "public_url": "https://app.example/chat"})
    async with app.router.lifespan_context(app), page(app) as web:
        assert (await web.get("/chat/api/openapi.json")).json()["servers"] == [{"url": "https://app.example/chat"}]
        here = (await web.get("/chat/api/asyncapi.json")).json()["servers"]["here"]
        assert (here["host"], here["protocol"], here["pathname"]) == ("app.example", "wss", "/chat")


async def test_the_link_of_a_picture_leads_to_where_the_request_came(store: Store) -> None:
    _, app = mounted(store, auth={"registration": "open"})
    async with app.router.lifespan_context(app), page(app) as web:
        begun = await web.post("/chat/api/auth.begin", json={"provider": "qr"})
        assert begun.json()["url"].startswith("https://app.example/chat/login/"), begun.json()
        evil = await web.post("/chat/api/auth.begin", json={"provider": "qr"}, headers={"host": "x/y?<z>"})
        assert evil.json()["url"].startswith("http://127.0.0.1:8080/login/")


async def test_nobody_gets_into_a_mounted_server_but_by_the_application(store: Store) -> None:
    chat, app = mounted(store)
    async with app.router.lifespan_context(app), page(app) as web:
        methods = (await web.post("/chat/api/auth.methods", json={})).json()
        assert methods == {"methods": [], "registration": "closed"}
        assert (
            await web.post("/chat/api/auth.register", json={"name": "x", "password": "12345678"})
        ).status_code == 400
        for path in ("/chat/", "/chat/login/abc", "/chat/login/style.css", "/chat/static/chat-client.js"):
            assert (await web.get(path)).status_code == 404, path
        assert await chat.ensure_user("42")


async def test_what_is_asked_for_is_open(store: Store) -> None:
    _, app = mounted(store, auth={"registration": "open"}, http={"web_client": True})
    async with app.router.lifespan_context(app), page(app) as web:
        methods = (await web.post("/chat/api/auth.methods", json={})).json()
        assert {each["name"] for each in methods["methods"]} == {"qr", "password"}
        assert (
            await web.post("/chat/api/auth.register", json={"name": "x1", "password": "12345678"})
        ).status_code == 200
        assert (await web.get("/chat/")).status_code == 200
        assert (await web.get("/chat/login/style.css")).status_code == 200
