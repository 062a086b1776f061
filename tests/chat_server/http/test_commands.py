from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx2
import pytest
from chat_server.pipeline import LimitSettings
from chat_server.transports.peers import Peers

from tests.chat_server.http.conftest import Site


async def test_the_body_is_the_params_and_the_answer_the_result(client: httpx2.AsyncClient, site: Any) -> None:
    answer = await client.post("/api/say", json={"text": "hi"}, headers={"idempotency-key": "r1"})
    assert (answer.status_code, answer.json()) == (200, {"text": "hi", "by": "anna"})
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    caller = site.callers[0]
    assert (caller.user, caller.device, caller.token, caller.ref) == ("anna", "phone", "family", "r1")
    assert (caller.origin, caller.command) == ("http", "say")


async def test_a_ref_is_made_when_there_is_none(client: httpx2.AsyncClient, site: Any) -> None:
    for _ in range(2):
        await client.post("/api/say", json={"text": "hi"})
    assert len({caller.ref for caller in site.callers}) == 2


async def test_guests(guest: httpx2.AsyncClient) -> None:
    answer = await guest.post("/api/auth.methods", json={"text": "hi"})
    assert (answer.status_code, answer.json()) == (200, {"text": "hi"})
    answer = await guest.post("/api/say", json={"text": "hi"})
    assert (answer.status_code, answer.json()["code"]) == (401, "not_authenticated")
    assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(
    ("path", "content", "headers", "status", "expected"),
    [
        ("/api/say", b'{"text": "too long"}', {}, 400, {"code": "invalid", "field": "text", "limit": 5}),
        ("/api/say", b'{"text": ', {}, 400, {"code": "invalid"}),
        ("/api/say", b'{"text": "\xff"}', {}, 400, {"code": "invalid"}),
        ("/api/say", b'{"text": "hi", "unknown": "\xff"}', {}, 400, {"code": "invalid"}),
        ("/api/say", b'{"text": "\\u0000"}', {}, 400, {"code": "invalid"}),
        ("/api/say", b'[{"text": "hi"}]', {}, 400, {"code": "invalid"}),
        ("/api/say", b"", {}, 400, {"code": "invalid", "field": "text"}),
        ("/api/say", b'{"nested":' * 31 + b"1" + b"}" * 31, {}, 400, {"code": "invalid", "field": "text"}),
        ("/api/say", b'{"nested":' * 32 + b"1" + b"}" * 32, {}, 400, {"code": "invalid", "limit": 32}),
        ("/api/say", b"[" * 60_000, {}, 400, {"code": "invalid", "limit": 32}),
        ("/api/say", b" " * 65_536, {}, 400, {"code": "invalid"}),
        ("/api/say", b" " * 65_537, {}, 413, {"code": "too_large", "limit": 65536}),
        ("/api/nothing", b"{}", {}, 400, {"code": "invalid", "field": "command"}),
        ("/api/nothing", b"{}", {"authorization": "Bearer nonsense"}, 400, {"code": "invalid", "field": "command"}),
        ("/api/say", b"{}", {"authorization": "Bearer no"}, 401, {"code": "not_authenticated", "field": "token"}),
        ("/api/say", b"{}", {"authorization": "Basic YTpi"}, 401, {"code": "not_authenticated"}),
        ("/api/say", b"{}", {"authorization": "Bearer "}, 401, {"code": "not_authenticated"}),
        ("/api/say", b"{}", {"idempotency-key": "r" * 65}, 400, {"code": "invalid", "field": "ref", "limit": 64}),
        ("/api/say?token=annas-token", b"{}", {}, 400, {"code": "invalid"}),
        ("/api/say?access_token=x", b"{}", {}, 400, {"code": "invalid"}),
        ("/api/say", b'{"text": "break"}', {}, 500, {"code": "internal"}),
        ("/api/say", b'{"text": "slow"}', {}, 429, {"code": "rate_limited", "limit": 3, "retry_after": 1.2}),
        ("/api/say", b'{"text": "away"}', {}, 503, {"code": "unavailable"}),
        ("/api/say", b'{"text": "hi"}', {"origin": "http://evil.example"}, 403, {"code": "not_permitted"}),
        ("/elsewhere", b"", {}, 404, {"code": "not_found"}),
    ],
)
async def test_every_refusal_has_its_status_and_body(
    client: httpx2.AsyncClient,
    path: str,
    content: bytes,
    headers: dict[str, str],
    status: int,
    expected: dict[str, Any],
) -> None:
    answer = await client.post(path, content=content, headers=headers)
    body = answer.json()
    assert answer.status_code == status
    assert body.pop("message")
    assert body == expected
    assert "inside" not in answer.text


async def test_retry_after_is_a_header_too(client: httpx2.AsyncClient) -> None:
    answer = await client.post("/api/say", json={"text": "slow"})
    assert answer.headers["retry-after"] == "2"


async def test_a_body_without_a_length_is_cut_off_too(client: httpx2.AsyncClient) -> None:
    async def parts() -> Any:
        for _ in range(100):
            yield b" " * 1000

    answer = await client.post("/api/say", content=parts())
    assert (answer.status_code, answer.json()["limit"]) == (413, 65_536)


async def test_other_methods_are_refused(client: httpx2.AsyncClient) -> None:
    answer = await client.get("/api/say")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    assert answer.json() == {"code": "invalid", "message": "only POST is answered here"}
    answer = await client.post("/healthz")
    assert answer.status_code == 405
    assert "GET" in answer.json()["message"]


async def test_the_own_origin_may(client: httpx2.AsyncClient) -> None:
    answer = await client.post("/api/say", json={"text": "hi"}, headers={"origin": "http://chat.example"})
    assert answer.status_code == 200
    assert "access-control-allow-origin" not in answer.headers


async def test_a_body_that_does_not_end_is_408() -> None:
    async def endless() -> Any:
        while True:
            yield b" "
            await asyncio.sleep(0.01)

    # The client of these tests collects a body before it sends it, so the application is asked directly.
    site = Site(body_timeout=0.05)
    parts, sent = endless(), []

    async def receive() -> Any:
        return {"type": "http.request", "body": await anext(parts), "more_body": True}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/api/say", "root_path": "", "query_string": b"", "headers": []}
    await site.app(scope, receive, send)
    assert sent[0]["status"] == 408
    assert json.loads(sent[1]["body"])["code"] == "invalid"
    assert site.pipeline.refusals.counts == {"body_timeout": 1}


@pytest.mark.parametrize(
    ("path", "body", "headers"),
    [
        ("say", b'{"text":"hi"}', {}),
        ("say", b'{"text":3}', {}),
        ("say", b"nonsense", {}),
        ("say", b"x" * 70_000, {}),
        ("nothing", b"{}", {}),
        ("say", b"{}", {"authorization": "Bearer wrong"}),
    ],
)
async def test_what_is_invalid_costs_as_much(path: str, body: bytes, headers: dict[str, str]) -> None:
    site = Site(limits=LimitSettings(burst=5, points=1, guest_burst=5, guest_points=1), peers=Peers(["127.0.0.1"]))
    mine = {"x-forwarded-for": "192.0.2.7", "authorization": "Bearer annas-token", **headers}
    async with site.client(headers=mine) as client:
        answers = [await client.post(f"/api/{path}", content=body) for _ in range(7)]
    assert [answer.status_code == 429 for answer in answers] == [False] * 5 + [True] * 2
    assert answers[-1].headers["retry-after"] == "1"
    assert answers[-1].json()["code"] == "rate_limited"
