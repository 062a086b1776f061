from __future__ import annotations

import asyncio
from typing import Any

import httpx2
import pytest
from chat_common.errors import Unavailable
from chat_server.http import status
from chat_server.http.pages import HSTS, content_security_policy
from chat_server.http.settings import HttpSettings
from chat_server.transports.origins import Origins
from chat_server.transports.peers import Peers


async def test_alive(guest: httpx2.AsyncClient) -> None:
    assert (await guest.get("/healthz")).text == "ok\n"


async def test_ready_names_its_parts(guest: httpx2.AsyncClient, site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status, "FRESH", 0.0)
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
    answer = await status.readyz({"broker": hang}, lambda request: True)(None)  # type: ignore[arg-type]
    assert b"no answer within 0.01 s" in bytes(answer.body)


async def test_a_server_that_stops_is_not_ready_at_once_whatever_was_asked_just_before() -> None:
    stopping: list[bool] = []

    async def fine() -> None: ...

    endpoint = status.readyz({"database": fine}, lambda request: True, lambda: bool(stopping))
    assert (await endpoint(None)).status_code == 200  # type: ignore[arg-type]
    stopping.append(True)
    answer = await endpoint(None)  # type: ignore[arg-type]
    assert (answer.status_code, b"stopping" in bytes(answer.body)) == (503, True)


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
    for answer in (
        page,
        await guest.get("/static/style/base.css"),
        await guest.get("/healthz"),
        await guest.get("/none"),
    ):
        assert answer.headers["content-security-policy"] == content_security_policy(["ws://chat.example"])
        assert answer.headers["x-content-type-options"] == "nosniff"
    script = await guest.get("/static/app/main.js")
    assert script.headers["content-type"].split(";")[0] in ("text/javascript", "application/javascript")


async def test_files_are_asked_for_again_by_etag(guest: httpx2.AsyncClient) -> None:
    for path in ("/", "/static/style/base.css"):
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
    allowing = type(site)(origins=Origins(["https://app.example"]))
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
    async with type(site)(settings=HttpSettings(metrics="off", web_client=False)).client() as client:
        assert (await client.get("/metrics")).status_code == 404
        assert (await client.get("/")).status_code == 404


async def test_many_who_ask_ask_the_parts_once(guest: httpx2.AsyncClient, site: Any) -> None:
    first = await guest.get("/readyz")
    site.wrong["broker"] = Unavailable("the broker is away")
    assert (await guest.get("/readyz")).json() == first.json()


STRANGER = {"x-forwarded-for": "192.0.2.7"}


@pytest.mark.parametrize(
    ("settings", "headers", "may"),
    [
        ({}, {}, True),
        ({}, STRANGER, False),
        ({"metrics": "open"}, STRANGER, True),
        ({"metrics": "token", "metrics_token": "m" * 16}, {}, False),
        ({"metrics": "token", "metrics_token": "m" * 16}, {"authorization": "Bearer " + "m" * 15}, False),
        ({"metrics": "token", "metrics_token": "m" * 16}, {"authorization": "Bearer " + "m" * 16}, True),
        ({"metrics": "token", "metrics_token": "m" * 16}, {"authorization": "Bearer \xe9"}, False),
    ],
)
@pytest.mark.parametrize("trusted", [[], ["127.0.0.1"]])
async def test_who_may_look_inside(site: Any, settings: Any, headers: Any, may: bool, trusted: list[str]) -> None:
    here = type(site)(settings=HttpSettings(**settings), peers=Peers(trusted))
    async with here.client(headers={name: value.encode("latin-1") for name, value in headers.items()}) as client:
        answer = await client.get("/metrics")
        assert answer.status_code == (200 if may else 403)
        assert ("chat_sessions" in answer.text) == may
        ready = await client.get("/readyz")
        assert ready.json() == (
            {"ready": True, "parts": {"database": "ok", "broker": "ok"}} if may else {"ready": True}
        )


@pytest.mark.parametrize(
    "settings", [{"metrics": "token"}, {"security_contact": "me"}, {"security_contact": "mailto:a@b\nContact: c"}]
)
def test_settings_that_cannot_be_meant(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"metrics_token|security_contact"):
        HttpSettings(**settings)


async def test_security_txt_is_there_when_there_is_a_contact(site: Any, guest: httpx2.AsyncClient) -> None:
    assert (await guest.get("/.well-known/security.txt")).status_code == 404
    async with type(site)(settings=HttpSettings(security_contact="mailto:me@chat.example")).client() as client:
        lines = (await client.get("/.well-known/security.txt")).text.splitlines()
    assert lines[0] == "Contact: mailto:me@chat.example"
    assert lines[1].startswith("Expires: 2")


async def test_pages_may_talk_to_their_own_server_and_store_alone(site: Any) -> None:
    here = type(site)(
        origins=Origins(public_url="https://chat.example:8443/x"),
        stores=["https://s3.example"],
        peers=Peers(["127.0.0.1"]),
    )
    async with here.client(headers={"x-forwarded-for": "192.0.2.7", "x-forwarded-proto": "https"}) as client:
        for host in ("Chat.example", "evil; script-src *", "a b", "[::1]:8080"):
            policy = (await client.get("/", headers={"host": host})).headers["content-security-policy"]
            own = {"Chat.example": " wss://chat.example", "[::1]:8080": " wss://[::1]:8080"}.get(host, "")
            assert f"connect-src 'self' wss://chat.example:8443{own} https://s3.example;" in policy
            assert policy.count("script-src") == 1


async def test_what_browsers_are_told(site: Any, guest: httpx2.AsyncClient) -> None:
    plain = (await guest.get("/")).headers
    assert plain["cross-origin-resource-policy"] == "same-origin"
    policy = dict(part.split("=") for part in plain["permissions-policy"].split(", "))
    assert policy.pop("microphone") == "(self)"  # for messages that one speaks
    assert set(policy.values()) == {"()"}
    assert {"camera", "display-capture", "geolocation"} <= set(policy)
    assert "strict-transport-security" not in plain
    public = type(site)(origins=Origins(["https://app.example"], public_url="https://chat.example"))
    async with public.client() as client:
        answer = await client.get("/")
    assert answer.headers["strict-transport-security"] == HSTS
    assert answer.headers["cross-origin-resource-policy"] == "cross-origin"


@pytest.mark.parametrize("origin", ["http://[", "http://h:x", "null", "\xff", "http://" + "x" * 60_000])
async def test_an_origin_that_is_none_is_refused_and_breaks_nothing(guest: httpx2.AsyncClient, origin: str) -> None:
    answer = await guest.post("/api/auth.methods", json={"text": "hi"}, headers={b"origin": origin.encode("latin-1")})
    assert (answer.status_code, answer.json()["code"]) == (403, "not_permitted")
    assert len(answer.content) < 1_000
