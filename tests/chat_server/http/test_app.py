from __future__ import annotations

import asyncio
from typing import Any

import httpx2
import pytest
from chat_common.errors import Unavailable
from chat_server.http import status
from chat_server.http.pages import CONTENT_SECURITY_POLICY
from chat_server.http.settings import HttpSettings


async def test_alive(guest: httpx2.AsyncClient) -> None:
    assert (await guest.get("/healthz")).text == "ok\n"


async def test_ready_names_its_parts(guest: httpx2.AsyncClient, site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = await guest.get("/readyz")
    assert (answer.status_code, answer.json()) == (200, {"ready": True, "parts": {"database": "ok", "broker": "ok"}})
    site.wrong["broker"] = Unavailable("the broker is away")
    answer = await guest.get("/readyz")
    assert (answer.status_code, answer.json()["parts"]["broker"]) == (503, "the broker is away")
    site.wrong["broker"] = OSError("redis://:password@host")
    assert (await guest.get("/readyz")).json()["parts"]["broker"] == "OSError"

    async def hang() -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(status, "PATIENCE", 0.01)
    answer = await status.readyz({"broker": hang})(None)  # type: ignore[arg-type]
    assert b"no answer within 0.01 s" in bytes(answer.body)


async def test_metrics_count_commands(client: httpx2.AsyncClient) -> None:
    await client.post("/api/say", json={"text": "hi"})
    await client.post("/api/say", json={})
    text = (await client.get("/metrics")).text
    assert 'chat_commands_total{command="say",outcome="ok"} 1.0' in text
    assert 'chat_commands_total{command="say",outcome="invalid"} 1.0' in text
    assert "chat_sessions 7.0" in text


async def test_the_web_client_and_its_headers(guest: httpx2.AsyncClient) -> None:
    page = await guest.get("/")
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    assert "<!doctype html>" in page.text
    for answer in (page, await guest.get("/static/style.css"), await guest.get("/healthz"), await guest.get("/none")):
        assert answer.headers["content-security-policy"] == CONTENT_SECURITY_POLICY
        assert answer.headers["x-content-type-options"] == "nosniff"
    script = await guest.get("/static/app/main.js")
    assert script.headers["content-type"].split(";")[0] in ("text/javascript", "application/javascript")


async def test_files_are_asked_for_again_by_etag(guest: httpx2.AsyncClient) -> None:
    for path in ("/", "/static/style.css"):
        first = await guest.get(path)
        assert first.headers["cache-control"] == "no-cache"
        again = await guest.get(path, headers={"if-none-match": first.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("path", ["/static/../app.py", "/static/%2e%2e/settings.py", "/static//etc/passwd", "/static/"])
async def test_nothing_outside_of_the_folder_is_served(guest: httpx2.AsyncClient, path: str) -> None:
    assert (await guest.get(path)).status_code == 404


async def test_extra_routes_may_set_their_own_policy(guest: httpx2.AsyncClient) -> None:
    answer = await guest.get("/login/page")
    assert answer.text == "a page"
    assert answer.headers["content-security-policy"] == "default-src 'self'"
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_cross_origin_for_those_who_are_allowed(site: Any) -> None:
    allowing = type(site)(allowed_origins=["https://app.example"])
    async with allowing.client(headers={"origin": "https://app.example"}) as client:
        asked = await client.options(
            "/api/say",
            headers={
                "access-control-request-method": "POST",
                "access-control-request-headers": "authorization,content-type,idempotency-key",
            },
        )
        assert asked.status_code == 200
        assert asked.headers["access-control-allow-origin"] == "https://app.example"
        answer = await client.post("/api/auth.methods", json={"text": "hi"})
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == "https://app.example"
    async with allowing.client(headers={"origin": "https://evil.example"}) as client:
        assert (await client.post("/api/auth.methods", json={"text": "hi"})).status_code == 403
        assert (await client.options("/api/say", headers={"access-control-request-method": "POST"})).status_code == 400


async def test_doors_can_be_closed(site: Any) -> None:
    async with type(site)(settings=HttpSettings(metrics=False, web_client=False)).client() as client:
        assert (await client.get("/metrics")).status_code == 404
        assert (await client.get("/")).status_code == 404
