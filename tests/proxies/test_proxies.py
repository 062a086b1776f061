"""The server behind real proxies, configured as the documentation says, and as people get it wrong."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from attrs import define
from chat_server.http.pages import HSTS
from chat_server.server import Server
from chat_server.transports.admission import Admission
from chat_server.transports.http import HttpTransport
from chat_server.transports.websocket import WebSocketTransport
from structlog.testing import capture_logs
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from tests.chat_server.transports.serving import serving
from tests.services.process import free_port
from tests.services.proxies import proxy, trust
from tests.support.frames import frames

PROXIES = ("nginx", "haproxy", "caddy")
CLIENT = "127.0.0.2"
"""Where the clients of these tests come from; the proxy comes from 127.0.0.1."""
UNDER_A_PATH: Mapping[str, Mapping[str, str]] = {
    "nginx": {"location / {": "location /chat/ {"},
    "haproxy": {"    server chat": "    http-request replace-path /chat/(.*) /\\1\n    server chat"},
    "caddy": {"    reverse_proxy": "    handle_path /chat/* {\n reverse_proxy", "8080\n": "8080\n }\n"},
}


@define
class Site:
    server: Server
    folder: Path
    port: int
    path: str

    @property
    def origin(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def client(self, **headers: str) -> httpx2.AsyncClient:
        transport = httpx2.AsyncHTTPTransport(verify=trust(self.folder), local_address=CLIENT)
        return httpx2.AsyncClient(
            transport=transport, base_url=f"{self.origin}{self.path}", headers={"origin": self.origin, **headers}
        )

    @asynccontextmanager
    async def socket(self, token: str, origin: str | None = None, **headers: str) -> AsyncIterator[ClientConnection]:
        async with connect(
            f"wss://127.0.0.1:{self.port}{self.path}ws",
            ssl=trust(self.folder),
            origin=origin or self.origin,  # type: ignore[arg-type]
            additional_headers=headers,
            local_addr=(CLIENT, 0),
            ping_interval=None,
        ) as socket:
            await socket.send(json.dumps({"op": "hello", "token": token, "device": {"id": "d", "platform": "test"}}))
            assert (await frames(socket, 30))[0]["op"] == "welcome"
            yield socket

    async def token(self, client: httpx2.AsyncClient) -> str:
        answer = await client.post("api/auth.dev", json={"name": "anna"})
        assert answer.status_code == 200, answer.text
        return str(answer.json()["token"])


@asynccontextmanager
async def site(
    kind: str,
    folder: Path,
    *,
    path: str = "/",
    changes: Mapping[str, str] | None = None,
    public: bool = True,
    heartbeat: float = 30.0,
) -> AsyncIterator[Site]:
    upstream = free_port()
    with proxy(kind, folder / kind, upstream, changes) as port:
        settings: dict[str, Any] = {
            "server": {
                "data": str(folder / "data"),
                "trusted_proxies": ["127.0.0.1"],
                "public_url": f"https://127.0.0.1:{port}{path}" if public else "",
            },
            "auth": {"dev": True},
            "http": {"web_client": True},
            "gateway": {"heartbeat": heartbeat},
        }
        async with Server(settings=settings, environ={}) as server:
            admission = Admission(server.settings.section("connections"), server.peers, server.refusals)
            ws = WebSocketTransport(server.gateway, origins=server.origins, admission=admission)
            http = HttpTransport(admission)
            async with serving(server.app, port=upstream, ws=ws, http=http, proxy_headers=False):
                yield Site(server, folder / kind, port, path)


@pytest.mark.parametrize("kind", PROXIES)
@pytest.mark.parametrize("path", ["/", "/chat/"])
async def test_all_goes_through(tmp_path: Path, kind: str, path: str) -> None:
    changes = UNDER_A_PATH[kind] if path != "/" else {}
    forged = {"x-forwarded-for": "203.0.113.9", "x-real-ip": "203.0.113.9"}
    async with site(kind, tmp_path, path=path, changes=changes) as here, here.client(**forged) as client:
        page = await client.get("")
        assert page.status_code == 200
        assert "<!doctype html>" in page.text
        # That people came by https is the proxy's word, which is believed.
        assert page.headers["strict-transport-security"] == HSTS
        assert f"wss://127.0.0.1:{here.port}" in page.headers["content-security-policy"]
        assert (await client.get("static/app/main.js")).status_code == 200
        # A proxy on this machine is not this machine.
        assert (await client.get("metrics")).status_code == 403
        assert (await client.get("readyz")).json() == {"ready": True}
        token = await here.token(client)
        mine = {"authorization": f"Bearer {token}"}
        large = await client.post("api/user.me", content=b" " * 60_000 + b"{}", headers=mine)
        assert large.json()["name"] == "anna"

        async def parts() -> AsyncIterator[bytes]:
            for _ in range(100):
                yield b" " * 1_000

        too_large = await client.post("api/user.me", content=parts(), headers=mine)
        assert (too_large.status_code, too_large.json()["limit"]) == (413, 65_536)
        async with here.socket(token, **forged):
            (connection,) = here.server.gateway.sessions.connections
            assert connection.wire.address == CLIENT  # and not what the client wrote
        with pytest.raises(InvalidStatus) as refused:
            async with here.socket(token, origin="https://evil.example"):
                pass
        assert refused.value.response.status_code == 403


@pytest.mark.parametrize("kind", PROXIES)
async def test_heartbeats_keep_an_idle_connection(tmp_path: Path, kind: str) -> None:
    """The proxy's time is 2 s here and the heartbeat 0.6 s; in the documentation it is 75 s and 30 s."""
    changes = {"nginx": {"75s": "2s"}, "haproxy": {"75s": "2s"}, "caddy": {}}[kind]
    async with (
        site(kind, tmp_path, changes=changes, heartbeat=0.6) as here,
        here.client() as client,
        here.socket(await here.token(client)) as socket,
    ):
        loop = asyncio.get_running_loop()
        until = loop.time() + 4.5
        while loop.time() < until:
            for frame in _frames(await socket.recv()):
                if frame["op"] == "beat":
                    await socket.send('{"op":"ack","received":0}')


@pytest.mark.parametrize(
    "line", ["", "proxy_set_header Host $host;"], ids=["nginx's default Host", "a Host that loses its port"]
)
async def test_a_host_that_is_not_what_people_use(tmp_path: Path, line: str) -> None:
    changes = {"proxy_set_header Host $http_host;": line}
    async with (
        site("nginx", tmp_path / "with", changes=changes) as here,
        here.client() as client,
        here.socket(await here.token(client)),
    ):
        pass
    with capture_logs() as logs:
        async with site("nginx", tmp_path / "without", changes=changes, public=False) as here, here.client() as client:
            answer = await client.post("api/auth.dev", json={"name": "anna"})
            assert answer.status_code == 403
            assert "public_url" in answer.json()["message"]
            origin = here.origin
    (said,) = [entry for entry in logs if entry["event"] == "refused" and entry["reason"] == "origin"]
    assert said["origin"] == origin
    assert said["accepted"]


def _frames(text: str | bytes) -> list[dict[str, Any]]:
    found = json.loads(text)
    return found if isinstance(found, list) else [found]
