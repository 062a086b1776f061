"""What a peer may do to the HTTP port before, between and instead of requests."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from chat_server.refusals import Refusals
from chat_server.transports.admission import Admission
from chat_server.transports.http import PIPELINED, HttpTransport
from chat_server.transports.peers import Peers
from chat_server.transports.settings import ConnectionSettings
from chat_server.transports.websocket import WebSocketTransport
from structlog.testing import capture_logs
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.chat_server.gateway.fakes import House
from tests.chat_server.transports.serving import serving
from tests.support.waiting import until

ENOUGH = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"


class App:
    """Answers at once, or when it is let; reads the body at ``/read`` alone."""

    def __init__(self) -> None:
        self.asked = 0
        self.go_on = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.asked += 1
        if scope["path"] == "/slow":
            await self.go_on.wait()
        while scope["path"] == "/read" and (await receive()).get("more_body"):
            pass
        body = b"x" * 40_000_000 if scope["path"] == "/large" else b"ok"
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
        await send({"type": "http.response.body", "body": body})


class Site:
    def __init__(self, port: int, app: App, admission: Admission) -> None:
        self.port, self.app, self.admission = port, app, admission
        self.counts = admission.refusals.counts

    @asynccontextmanager
    async def open(self, host: str = "127.0.0.1") -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, local_addr=(host, 0))
        try:
            yield reader, writer
        finally:
            writer.close()

    async def say(self, *parts: bytes, host: str = "127.0.0.1") -> bytes:
        """All that is answered until the server closes."""
        async with self.open(host) as (reader, writer), asyncio.timeout(10):
            for part in parts:
                writer.write(part)
            return await reader.read()


@asynccontextmanager
async def site(house: House | None = None, trusted: tuple[str, ...] = (), **settings: Any) -> AsyncIterator[Site]:
    admission = Admission(ConnectionSettings(**settings), Peers(trusted), Refusals())
    app = App()
    ws = None if house is None else WebSocketTransport(house.gateway, admission=admission)
    async with serving(app, http=HttpTransport(admission), ws=ws or "none", proxy_headers=False) as (_, port):
        yield Site(port, app, admission)
        app.go_on.set()
        await until(lambda: admission.number == 0)


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def error(answer: bytes) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(answer.partition(b"\r\n\r\n")[2])
    return body


@pytest.mark.parametrize(
    "parts",
    [
        [b"GET / HTTP/1.1\r\n" + b"".join(b"X-%d: %s\r\n" % (n, b"y" * 990) for n in range(90))],
        [b"GET / HTTP/1.1\r\nX: ", *[b"y" * 1_000] * 90],
        [b"GET /", *[b"y" * 1_000] * 90],
        [ENOUGH, b"GET / HTTP/1.1\r\nX: ", *[b"y" * 1_000] * 90],
    ],
    ids=["many lines", "an endless line", "an endless address", "the second request"],
)
async def test_a_head_above_64_KiB_is_431_and_the_end(parts: list[bytes]) -> None:
    async with site() as here:
        answer = await here.say(*parts)
        answer = answer[answer.rindex(b"HTTP/1.1 4") :]
        assert status(answer) == 431
        assert (error(answer)["code"], error(answer)["limit"]) == ("too_large", 65_536)
        assert here.counts["head_too_large"] == 1


async def test_a_head_at_the_limits_is_served() -> None:
    async with site() as here:
        fields = b"".join(b"X-%d: %s\r\n" % (n, b"y" * 600) for n in range(98))
        answer = await here.say(b"GET / HTTP/1.1\r\nHost: h\r\n" + fields + b"Connection: close\r\n\r\n")
        assert status(answer) == 200
        answer = await here.say(b"GET / HTTP/1.1\r\nHost: h\r\n" + b"X: y\r\n" * 100 + b"\r\n")
        assert status(answer) == 431
        assert error(answer)["limit"] == 100
        body = b"POST /read HTTP/1.1\r\nHost: h\r\nContent-Length: 500000\r\nConnection: close\r\n\r\n" + b"z" * 500_000
        assert status(await here.say(body)) == 200


@pytest.mark.parametrize(
    ("parts", "answered"),
    [
        ([], b""),
        ([b"GET / HTT"], b"HTTP/1.1 408"),
        ([b"GET / HTTP/1.1\r\nHost: h\r\n"], b"HTTP/1.1 408"),
        ([b"\r\n\r\n"], b"HTTP/1.1 408"),
    ],
)
async def test_a_head_that_does_not_end_is_the_end(parts: list[bytes], answered: bytes) -> None:
    async with site(head_timeout=0.1) as here:
        assert (await here.say(*parts)).startswith(answered)


async def test_an_idle_connection_and_one_that_sends_empty_lines_are_closed() -> None:
    async with site(head_timeout=0.3, keep_alive=0.3) as here:
        assert (await here.say(ENOUGH)).endswith(b"ok")
        async with here.open() as (reader, writer), asyncio.timeout(10):
            writer.write(ENOUGH)
            await reader.readuntil(b"ok")
            while not reader.at_eof() and b"408" not in reader._buffer:  # type: ignore[attr-defined]
                writer.write(b"\r\n")
                await asyncio.sleep(0.05)


async def test_a_body_that_nobody_reads_does_not_keep_a_connection() -> None:
    async with site(body_timeout=0.3) as here, here.open() as (reader, writer), asyncio.timeout(10):
        writer.write(b"POST /none HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n")
        await reader.readuntil(b"ok")
        while not reader.at_eof():
            writer.write(b"y")
            await asyncio.sleep(0.05)


async def test_the_handlers_time_is_its_own() -> None:
    async with site(head_timeout=0.1, body_timeout=0.1, keep_alive=0.1) as here, here.open() as (reader, writer):
        writer.write(b"GET /slow HTTP/1.1\r\nHost: h\r\n\r\n")
        await until(lambda: here.app.asked == 1)
        await asyncio.sleep(0.4)  # longer than anything above lasts
        here.app.go_on.set()
        assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200")


async def test_who_takes_nothing_of_an_answer_is_dropped() -> None:
    async with site(write_timeout=0.2) as here, here.open() as (reader, writer):
        reader._limit = 1  # type: ignore[attr-defined]  # the stream stops reading from its socket
        writer.write(b"GET /large HTTP/1.1\r\nHost: h\r\n\r\n")
        await until(lambda: here.counts["takes_nothing"] == 1)
        await until(lambda: here.admission.number == 0)


async def test_requests_that_wait_for_the_one_before_are_few() -> None:
    async with site() as here:
        first = b"GET /slow HTTP/1.1\r\nHost: h\r\n\r\n"
        await here.say(first + ENOUGH * 500)
        assert here.counts["http"] == 1
    async with site() as here:
        served = await here.say(ENOUGH * (PIPELINED - 1) + ENOUGH.replace(b"h\r\n", b"h\r\nConnection: close\r\n"))
        assert served.count(b"HTTP/1.1 200") == PIPELINED


async def test_rubbish_is_400_and_one_line_a_minute() -> None:
    with capture_logs() as logs:
        async with site() as here:
            for _ in range(5):
                answer = await here.say(b"\x16\x03\x01 rubbish\r\n\r\n")
                assert (status(answer), error(answer)["code"]) == (400, "invalid")
            assert here.counts["http"] == 5
            await here.say(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, close\r\nUpgrade: h2c\r\n\r\n")
    assert [line["reason"] for line in logs if line["event"] == "refused"] == ["http", "upgrade"]


async def test_there_are_only_so_many_connections() -> None:
    async with site(max_connections=3) as here:
        async with here.open(), here.open(), here.open():
            await until(lambda: here.admission.number == 3)
            answer = await here.say()
            assert status(answer) == 503
            assert b"retry-after: 10" in answer
            assert (error(answer)["code"], error(answer)["retry_after"]) == ("unavailable", 10.0)
        await until(lambda: here.admission.number == 0)
        assert status(await here.say(ENOUGH.replace(b"h\r\n", b"h\r\nConnection: close\r\n"))) == 200
        assert here.counts["connections"] == 1


async def test_a_crowd_that_is_turned_away_holds_few_descriptors() -> None:
    async with site(max_connections=1) as here, here.open():
        await until(lambda: here.admission.number == 1)
        answers = await asyncio.gather(*(here.say() for _ in range(150)), return_exceptions=True)
        assert 64 <= sum(isinstance(answer, bytes) and answer.startswith(b"HTTP/1.1 503") for answer in answers) < 150


async def test_a_websocket_counts_once_and_behind_a_proxy_by_its_client() -> None:
    async with House() as house, site(house, trusted=("127.0.0.1",), per_address=2) as here:
        url = f"ws://127.0.0.1:{here.port}/ws"

        def headers(address: str) -> dict[str, str]:
            return {"X-Forwarded-For": address}

        async with connect(url), connect(url), connect(url):
            assert here.admission.number == 3
        mine = headers("192.0.2.7")
        async with connect(url, additional_headers=mine), connect(url, additional_headers=mine):
            with pytest.raises(InvalidStatus) as refused:
                await connect(url, additional_headers=mine)
            assert refused.value.response.status_code == 429
            assert refused.value.response.headers["Retry-After"] == "10"
            async with connect(url, additional_headers=headers("192.0.2.8")):
                pass
        await until(lambda: here.admission.number == 0)
        async with connect(url, additional_headers=mine):
            pass
        assert here.counts["connections_of_one_address"] == 1


@pytest.mark.parametrize("gap", [0, 2])
async def test_a_message_in_too_many_parts_or_for_too_long_is_the_end(gap: int) -> None:
    limits: dict[str, Any] = {"message_timeout": 0.2} if gap else {}
    async with House() as house, site(house, **limits) as here, here.open() as (reader, writer), asyncio.timeout(10):
        key = b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        writer.write(b"GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" + key)
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"\x01\x80abcd")
        empty, ping = b"\x00\x80abcd", b"\x89\x80abcd"
        if gap:
            while not here.counts["message_timeout"]:
                writer.write(ping)  # which keeps the connection alive, but not the message
                await asyncio.sleep(0.02)
        else:
            writer.write(empty * 200)
        rest = await reader.read()
        code = 1008 if gap else 1009
        assert code.to_bytes(2, "big") in rest
        assert here.counts["message_timeout" if gap else "fragments"] == 1


async def test_parts_are_no_sign_of_life() -> None:
    async with House() as house, site(house) as here, connect(f"ws://127.0.0.1:{here.port}/ws") as socket:
        await socket.send('{"op":"hello","token":"ann","device":{"id":"d1","platform":"test"}}')
        await socket.recv()
        house.clock.advance(44)
        socket.transport.write(b"\x01\x80abcd" + b"\x00\x80abcd" * 3)
        (connection,) = house.gateway.sessions.connections
        await until(lambda: len(connection.wire._parts or ()) == 4)  # type: ignore[attr-defined]
        house.advance(2)
        with contextlib.suppress(ConnectionClosed):
            while True:
                await socket.recv()
        assert socket.close_code == 4001
