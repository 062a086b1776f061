"""Every piece of code of docs/embedding.md, run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import httpx2
import pytest
from chat_common.wire import SubmitMessage

from tests.chat_server.house import fresh_sqlite, migrated

PAGE = Path(__file__).parents[2] / "docs" / "embedding.md"
MOUNTED, WITHOUT_LIFESPAN, ORDER, THREADS = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)


@pytest.fixture
def names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """What the first piece makes, over a fresh store."""
    migrated(f"sqlite:///{tmp_path / 'template.db'}")
    with fresh_sqlite(tmp_path / "template.db", tmp_path / "chat-data"):
        monkeypatch.chdir(tmp_path)
        found: dict[str, Any] = {"SubmitMessage": SubmitMessage}
        exec(MOUNTED, found)
        yield found


async def test_the_application_with_its_own_login_and_an_order(names: dict[str, Any]) -> None:
    app, chat = names["app"], names["chat"]
    exec(ORDER, names)
    async with app.router.lifespan_context(app):
        transport = httpx2.ASGITransport(app)
        async with httpx2.AsyncClient(transport=transport, base_url="https://app.example") as web:
            ann = {"cookie": "session=cookie-of-ann"}
            assert (await web.post("/chat/api/user.me", json={}, headers=ann)).json()["name"] == "Ann"
            assert (await web.post("/chat/api/user.me", json={})).status_code == 401
            for _ in range(2):
                await names["an_order_is_placed"](1, "43", "42")
            talks = (await web.post("/chat/api/inbox.list", json={}, headers=ann)).json()["inbox"]
            page = await web.post("/chat/api/history", json={"conversation": talks[0]["conversation"]}, headers=ann)
            assert [each["body"]["text"] for each in page.json()["messages"]] == ["One lamp, please."]
        assert (await chat.ensure_user("42")).name == "Ann"


async def test_an_asgi_server_that_runs_no_lifespan(names: dict[str, Any]) -> None:
    exec(WITHOUT_LIFESPAN, names)
    transport = httpx2.ASGITransport(names["application"])
    async with httpx2.AsyncClient(transport=transport, base_url="https://app.example") as web:
        for _ in range(2):
            assert (await web.get("/chat/readyz")).status_code == 200
    await names["chat"].stop()


def test_threads(names: dict[str, Any]) -> None:
    exec(THREADS, names)
    assert names["bob"].name == "Bob"
