"""The WebSocket transport inside a real uvicorn, with HTTP beside it on the same port."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from unittest.mock import Mock

import pytest
import websockets
from chat_common.codec.json import JsonCodec
from chat_server.refusals import Refusals
from chat_server.services import Delivery
from chat_server.transports.admission import Admission
from chat_server.transports.origins import Origins
from chat_server.transports.peers import Peers
from chat_server.transports.settings import ConnectionSettings
from chat_server.transports.websocket import WebSocketConnection, WebSocketFraming, WebSocketTransport
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import Frame, Opcode

from tests.chat_server.gateway.fakes import House, message, until
from tests.chat_server.transports.serving import serving
from tests.support.frames import frames

HELLO = '{"op":"hello","token":"ann","device":{"id":"d1","platform":"test"}}'


async def plain_http(scope: Any, receive: Any, send: Any) -> None:
    size = 0
    while True:
        event = await receive()
        size += len(event.get("body", b""))
        if not event.get("more_body"):
            break
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(size).encode()})


@asynccontextmanager
async def server(house: House, **options: Any) -> AsyncIterator[int]:
    async with serving(plain_http, ws=WebSocketTransport(house.gateway, **options)) as (_, port):
        yield port


@asynccontextmanager
async def client(port: int, path: str = "/ws", **options: Any) -> AsyncIterator[ClientConnection]:
    async with connect(f"ws://127.0.0.1:{port}{path}", compression=None, **options) as socket:
        yield socket


async def closed(socket: ClientConnection) -> tuple[int, list[dict[str, Any]]]:
    """The code with which the server closes, and the frames before it."""
    before: list[dict[str, Any]] = []
    with contextlib.suppress(ConnectionClosed):
        while True:
            before.extend(await frames(socket))
    assert socket.close_code is not None
    return socket.close_code, before


async def test_a_session_and_plain_http_on_one_port() -> None:
    async with House() as house, server(house) as port:
        async with client(port, subprotocols=[websockets.Subprotocol("chat.v1.json")]) as socket:
            assert socket.subprotocol == "chat.v1.json"
            await socket.send(HELLO)
            (welcome,) = await frames(socket)
            assert (welcome["op"], welcome["user"]["user"]) == ("welcome", "ann")
            await house.gateway.deliver([Delivery([message("c", seq) for seq in (1, 2)], {"ann": 1}, "c", 1, 2)])
            assert [frame["data"]["seq"] for frame in await frames(socket)] == [1, 2]
            await socket.send('[{"op":"ack","received":2},{"op":"ping"}]')
            assert (await frames(socket))[0]["op"] == "pong"
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            body = b"x" * 300_000
            writer.write(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            answer = await reader.readuntil(b"300000")
            assert answer.startswith(b"HTTP/1.1 200")
            writer.close()
        await until(lambda: not house.gateway.sessions.connections)


async def test_without_a_subprotocol_it_is_the_same_and_a_foreign_one_is_refused() -> None:
    async with House() as house, server(house) as port:
        async with client(port) as socket:
            await socket.send(HELLO)
            assert (await frames(socket))[0]["op"] == "welcome"
        with pytest.raises(InvalidStatus) as refused:
            async with client(port, subprotocols=[websockets.Subprotocol("mqtt")]):
                pass
        assert refused.value.response.status_code == 400


@pytest.mark.parametrize(
    ("path", "origin", "allowed", "status"),
    [
        ("/ws", None, (), 101),
        ("/ws?node=n1", None, (), 101),
        ("/ws", "http://{host}", (), 101),
        ("/ws", "https://evil.example", (), 403),
        ("/ws", "null", (), 403),
        ("/ws", "http://[", (), 403),
        ("/ws", "https://chat.example", ("https://chat.example",), 101),
        ("/ws", "http://{host}", ("https://chat.example",), 101),
        ("/ws", "https://evil.example", ("https://chat.example",), 403),
        ("/ws", "https://any.example", ("*",), 101),
        ("/", None, (), 404),
        ("/ws/", None, (), 404),
        ("/ws?token=secret", None, (), 400),
        ("/ws?access_token=", None, (), 400),
    ],
)
async def test_who_may_open_a_websocket(path: str, origin: str | None, allowed: tuple[str, ...], status: int) -> None:
    async with House() as house, server(house, origins=Origins(allowed)) as port:
        named: Any = origin and origin.format(host=f"127.0.0.1:{port}")
        try:
            async with client(port, path, origin=named) as socket:
                found = socket.response.status_code if socket.response is not None else 0
        except InvalidStatus as refused:
            found = refused.response.status_code
        assert found == status
        await until(lambda: not house.gateway.sessions.connections)


async def test_compression_is_refused() -> None:
    async with (
        House() as house,
        server(house) as port,
        connect(f"ws://127.0.0.1:{port}/ws", compression="deflate") as socket,
    ):
        assert socket.response is not None
        assert "Sec-WebSocket-Extensions" not in socket.response.headers


async def test_a_message_above_the_limit_is_closed_with_1009_and_at_the_limit_served() -> None:
    async with House() as house, server(house) as port:
        async with client(port) as socket:
            await socket.send('{"op":"ping","x":"' + "y" * (65_536 - 20) + '"}')
            assert (await frames(socket))[0]["code"] == "not_authenticated"
            await socket.send("x" * 65_537)
            assert (await closed(socket))[0] == 1009
        async with client(port) as socket:
            await socket.send([b"x" * 40_000, b"y" * 40_000])
            assert (await closed(socket))[0] == 1009
        await until(lambda: not house.gateway.sessions.connections)


async def test_invalid_utf8_is_closed_with_1007_and_harms_nobody_else() -> None:
    async with House() as house, server(house) as port, client(port) as other:
        await other.send(HELLO)
        await frames(other)
        async with client(port) as socket:
            await socket.send(b'{"op":"ping","x":"\xff"}', text=True)
            assert (await closed(socket))[0] == 1007
        await other.send('{"op":"ping"}')
        assert (await frames(other))[0]["op"] == "pong"


async def test_a_message_in_parts_is_one_message_and_utf8_may_be_cut() -> None:
    async with House() as house, server(house) as port:

        async def echo(caller: Any, params: Any) -> Any:
            return params

        house.dispatcher.commands["echo"] = echo
        async with client(port) as socket:
            await socket.send(HELLO)
            await frames(socket)
            whole = '{"op":"call","ref":"r","command":"echo","params":{"t":"你好"}}'.encode()
            await socket.send([whole[:57], whole[57:58], whole[58:]], text=True)
            assert (await frames(socket))[0]["result"] == {"t": "你好"}


async def test_a_binary_message_is_invalid() -> None:
    async with House() as house, server(house) as port, client(port) as socket:
        await socket.send(b'{"op":"ping"}')
        assert (await frames(socket))[0]["code"] == "invalid"


async def test_pings_are_answered_and_are_a_sign_of_life() -> None:
    async with House() as house, server(house) as port, client(port) as socket:
        await socket.send(HELLO)
        await frames(socket)
        house.clock.advance(44)
        async with asyncio.timeout(5):
            await (await socket.ping())
        house.advance(2)
        await socket.send('{"op":"ping"}')
        assert {frame["op"] for frame in await frames(socket)} <= {"beat", "pong"}


async def test_the_bye_comes_before_the_close() -> None:
    async with House() as house, server(house) as port, client(port) as socket:
        await socket.send('{"op":"hello","token":"bad","device":{"id":"d1","platform":"test"}}')
        code, before = await closed(socket)
        assert (code, before[-1]["op"], before[-1]["code"]) == (4401, "bye", 4401)


async def test_stopping_uvicorn_says_goodbye_after_answering() -> None:
    async with House() as house:
        go_on = asyncio.Event()

        async def slow(caller: Any, params: Any) -> Any:
            await go_on.wait()
            return {}

        house.dispatcher.commands["slow"] = slow
        async with serving(plain_http, ws=WebSocketTransport(house.gateway)) as (running, port), client(port) as socket:
            await socket.send(HELLO)
            await frames(socket)
            await socket.send('{"op":"call","ref":"r","command":"slow"}')
            await until(lambda: house.gateway.sessions.calls)
            running.should_exit = True
            link = next(iter(house.gateway.sessions.connections))
            await until(lambda: link.session is not None and link.session.closing is not None)
            go_on.set()
            code, before = await closed(socket)
            assert (code, [frame["op"] for frame in before]) == (4000, ["reply", "bye"])


async def test_what_uvicorn_does_with_the_class_it_is_given() -> None:
    """Pinned: built by keyword, told of the connection, fed a head made again, in `connections` while it lives."""
    async with House() as house:
        made: list[dict[str, Any]] = []
        transport = WebSocketTransport(house.gateway)

        def build(**given: Any) -> WebSocketConnection:
            made.append(given)
            return transport(**given)

        async with serving(plain_http, ws=build) as (running, port), client(port, "/ws?node=n1") as socket:
            (given,) = made
            assert set(given) == {"config", "server_state", "app_state"}
            assert given["server_state"] is running.server_state
            (connection,) = running.server_state.connections
            assert isinstance(connection, WebSocketConnection)
            await socket.close()
            await until(lambda: not running.server_state.connections)


async def test_bytes_that_are_no_websocket_harm_nobody() -> None:
    """Random bytes after the handshake: every connection ends or goes on, none breaks the server."""
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    async with House() as house, server(house) as port:
        for _ in range(40):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(
                b"GET /ws HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
            )
            head = await reader.readuntil(b"\r\n\r\n")
            assert b" 101 " in head, seed
            writer.write(chance.randbytes(chance.randrange(1, 400)))
            if chance.random() < 0.5:
                writer.write_eof()
            writer.close()
        async with client(port) as socket:
            await socket.send(HELLO)
            assert (await frames(socket))[0]["op"] == "welcome", seed
        await until(lambda: not house.gateway.sessions.connections)


@pytest.mark.parametrize("end", [b"\xff\xff\xff\xff", b"\x88\x80abcd", b""], ids=["rubbish", "close", "end of file"])
async def test_nothing_is_written_after_the_end(end: bytes) -> None:
    """The connection lingers after our side of it was closed: what comes for the session meanwhile goes nowhere."""
    async with House() as house, server(house) as port, client(port) as socket:
        await socket.send(HELLO)
        await frames(socket)
        (link,) = house.gateway.sessions.connections
        wire: Any = link.wire
        transport = wire._transport
        socket.transport.write(end) if end else socket.transport.write_eof()
        await until(lambda: transport.is_closing() or transport._eof)
        link.wire.write(b"too late")


async def test_a_peer_that_reads_nothing_is_paused_and_the_rest_arrives_later() -> None:
    async with House(window=10_000, window_bytes=64 << 20) as house, server(house) as port, client(port) as socket:
        await socket.send(HELLO)
        await frames(socket)
        link = next(iter(house.gateway.sessions.connections))
        seq = 0
        while link.paused_at is None:
            seq += 1
            assert seq < 900, "60 MB are under way, and nobody was told to stop"
            push = message("c", seq)
            push.data["text"] = "x" * 60_000
            await house.gateway.deliver([Delivery([push], {"ann": seq}, "c", seq, seq)])
            await asyncio.sleep(0)
        for _ in range(5):
            seq += 1
            await house.gateway.deliver([Delivery([message("c", seq)], {"ann": seq}, "c", seq, seq)])
        got = 0
        while got < seq:
            for frame in await frames(socket):
                got += 1
                assert frame["data"]["seq"] == got
        assert link.paused_at is None


async def test_a_message_that_comes_with_the_head_is_served() -> None:
    """uvicorn hands over the head alone; another server may not."""
    async with House() as house:
        connection = WebSocketTransport(house.gateway)(config=None, server_state=Mock(connections=set()), app_state={})
        socket = Mock()
        socket.is_closing.return_value = False
        connection.connection_made(socket)
        hello = Frame(Opcode.TEXT, HELLO.encode()).serialize(mask=True)
        connection.data_received(
            b"GET /ws HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n" + hello
        )
        await until(lambda: any(b'"welcome"' in call.args[0] for call in socket.write.call_args_list))
        connection.connection_lost(None)


def test_frames_are_packed_as_websockets_would() -> None:
    framing = WebSocketFraming(JsonCodec())
    for frame in (b"{}", b"x" * 125, b"x" * 126, b"x" * 65_535, b"x" * 65_536):
        assert framing.pack([frame]) == Frame(Opcode.TEXT, frame).serialize(mask=False)
    assert framing.pack([b"1", b"2"]) == Frame(Opcode.TEXT, b"[1,2]").serialize(mask=False)


@pytest.mark.parametrize(
    ("trusted", "forwarded", "address"),
    [((), None, None), (("127.0.0.1",), "192.0.2.7", "192.0.2.7"), ((), "192.0.2.7", "127.0.0.1")],
)
async def test_a_session_has_the_address_of_its_peer(
    trusted: tuple[str, ...], forwarded: str | None, address: str | None
) -> None:
    admission = Admission(ConnectionSettings(), Peers(trusted), Refusals())
    async with House() as house, server(house, admission=admission) as port:
        headers = {} if forwarded is None else {"X-Forwarded-For": forwarded}
        async with client(port, additional_headers=headers):
            (link,) = house.gateway.sessions.connections
            assert link.wire.address == address
