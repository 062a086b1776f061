"""Whatever the generated OpenAPI document allows, and what it does not, is answered, and never with 500.

`nox -s fuzz` runs this with more examples (``CHAT_FUZZ_EXAMPLES`` a command); ``CHAT_FUZZ_PART=2/3`` takes the second
third of the commands, for a machine that has less time in one go.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest
import schemathesis
from chat_server.server import Server
from chat_server.transports.websocket import WebSocketTransport
from hypothesis import HealthCheck, Phase, given, settings

from tests.chat_server.transports.serving import serving

EXAMPLES = int(os.environ.get("CHAT_FUZZ_EXAMPLES", "6"))
PART, PARTS = (int(number) for number in os.environ.get("CHAT_FUZZ_PART", "1/1").split("/"))
SETTINGS: dict[str, Any] = {
    "auth": {"dev": True},
    "limits": {"points": 0, "guest_points": 0},
    "groups": {"strangers": "allow"},
}


@contextmanager
def running(folder: Path) -> Iterator[str]:
    """A server with a loop of its own, since the generator is no coroutine; its address."""
    ready, stop = threading.Event(), asyncio.Event()
    found: dict[str, Any] = {}

    async def serve() -> None:
        found["loop"] = asyncio.get_running_loop()
        async with (
            Server(settings={**SETTINGS, "server": {"data": str(folder)}}, environ={}) as server,
            serving(server.app, ws=WebSocketTransport(server.gateway), http="httptools") as (_, port),
        ):
            found["url"] = f"http://127.0.0.1:{port}"
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    try:
        assert ready.wait(60)
        yield found["url"]
    finally:
        found["loop"].call_soon_threadsafe(stop.set)
        thread.join(30)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    with running(tmp_path_factory.mktemp("fuzz")) as url:
        token = httpx2.post(f"{url}/api/auth.dev", json={"name": "anna"}).json()["token"]
        yield url, token


def test_no_call_whatever_is_a_fault_of_ours(site: tuple[str, str]) -> None:
    url, token = site
    schema = schemathesis.openapi.from_dict(httpx2.get(f"{url}/api/openapi.json").json())
    operations = [found.ok() for found in schema.get_all_operations()]
    # What ends the login that all the others need is called last, and only once each.
    last = {"/api/auth.logout", "/api/auth.kick"}
    assert len(operations) > 40
    called = 0
    with httpx2.Client(base_url=url, headers={"authorization": f"Bearer {token}"}) as client:
        for operation in operations[PART - 1 :: PARTS]:
            if operation.path in last:
                continue
            for mode in (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE):

                @given(operation.as_strategy(generation_mode=mode))
                @settings(
                    max_examples=EXAMPLES,
                    deadline=None,
                    database=None,
                    derandomize=True,
                    phases=[Phase.explicit, Phase.generate],
                    suppress_health_check=list(HealthCheck),
                )
                def call(case: Any) -> None:
                    nonlocal called
                    sent = case.as_transport_kwargs()
                    answer = client.post(
                        case.operation.path,
                        content=_content(sent),
                        headers=_headers(case.headers),
                    )
                    called += 1
                    assert answer.status_code != 500, (case.operation.path, sent, answer.text)
                    if answer.status_code != 200:
                        assert set(answer.json()) >= {"code", "message"}, answer.text

                call()
    assert called > 2 * len(operations)


def _content(sent: Any) -> bytes:
    if sent.get("json") is not None:
        return msgspec.json.encode(sent["json"])
    data = sent.get("data")
    return data if isinstance(data, bytes) else str(data or "").encode("utf-8", "surrogatepass")


def _headers(headers: Any) -> dict[str, str]:
    key = (headers or {}).get("Idempotency-Key")
    # A client of HTTP refuses other characters by itself.
    return {"idempotency-key": key} if isinstance(key, str) and key.isascii() and key.isprintable() and key else {}
