"""Two hundred hostile variations by a seeded generator, while a member goes on talking.

Nothing here asks a clock on the wall, which measures the machine: a flood by which the writer would make others wait is
counted in changes that ran before the member's; what holds up the loop, in the CPU time of its turns, compared with
that of judging one honest frame (`tests.hostile.metered`).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
from chat_server.store.writer import SHARE
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from tests.services.process import Child, free_port, listens
from tests.support.frames import frames

VARIATIONS = 200
SEED = 20_261_128
TOGETHER = 8
FLOODS = 4
AHEAD = 2 * SHARE
"""Changes of one other user that may run while one of the member's waits: their share of the transaction that runs, and
of the next one, which has the member's in it."""
TURN = 3_000
"""Times the cost of judging one honest frame that a turn of the loop may cost. A turn reads up to 256 KiB, and the
dearest of them cost 900; what was found in the server cost 30,000 and more."""

NASTY = ['\\"', '"', "\\", "[", "{", "\\u0000", "\\ud800", "null", "1", " - at `", '{"a":', "\x00", "é"]
ROOT = Path(__file__).resolve().parents[2]
BEGINNINGS = ['{"name":"', "[" * 40 + '"', '{"op":"', '{"op":"call","ref":"r","command":"submit","params":{"t":"', ""]
HOST = b"Host: chat\r\n"
Attack = Callable[["Enemy"], Awaitable[None]]


class Enemy:
    """One device of the attacker: a seed, a port and a token."""

    def __init__(self, port: int, device: str, token: str, seed: int) -> None:
        self.port, self.device, self.token, self.random = port, device, token, random.Random(seed)

    def text(self, most: int = 65_000) -> bytes:
        unit = "".join(self.random.choices(NASTY, k=self.random.randint(1, 4)))
        size = self.random.randint(most // 4, most)
        return (self.random.choice(BEGINNINGS) + unit * size).encode()[:size]

    async def bytes(self, *parts: bytes, wait: float = 0.3) -> None:
        with contextlib.suppress(OSError):
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            for part in parts:
                writer.write(part)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await reader.read()
            writer.close()

    async def socket(self, *messages: Any, log_in: bool = False, wait: float = 0.3) -> None:
        with contextlib.suppress(OSError, WebSocketException, TimeoutError):
            async with connect(f"ws://127.0.0.1:{self.port}/ws", open_timeout=5, close_timeout=0.2) as socket:
                if log_in:
                    device = {"id": self.device, "platform": "test"}
                    await socket.send(json.dumps({"op": "hello", "token": self.token, "device": device}))
                async with asyncio.timeout(wait):
                    for message in messages:
                        await socket.send(message)
                    async for _ in socket:
                        pass


def post(body: bytes, *, length: int | None = None, path: bytes = b"auth.dev", more: bytes = b"") -> bytes:
    size = len(body) if length is None else length
    return b"POST /api/%s HTTP/1.1\r\n%sContent-Length: %d\r\n%s\r\n%s" % (path, HOST, size, more, body)


async def nasty_body(it: Enemy) -> None:
    await it.bytes(post(it.text()))


async def nasty_frame(it: Enemy) -> None:
    await it.socket(it.text(), log_in=it.random.random() < 0.5)


async def large_head(it: Enemy) -> None:
    lines = it.random.randint(1, 300)
    line = b"y" * it.random.choice((10, 1_000, 20_000))
    await it.bytes(b"GET / HTTP/1.1\r\n", *[b"X-%d: %s\r\n" % (n, line) for n in range(lines)])


async def endless_line(it: Enemy) -> None:
    await it.bytes(b"GET /" if it.random.random() < 0.5 else b"GET / HTTP/1.1\r\nX: ", *[b"z" * 5_000] * 100)


async def half(it: Enemy) -> None:
    whole = post(b"{}", length=it.random.randint(3, 10**9))
    await it.bytes(whole[: it.random.randint(0, len(whole))])


async def rubbish(it: Enemy) -> None:
    await it.bytes(it.random.randbytes(it.random.randint(1, 200_000)))


async def pipeline(it: Enemy) -> None:
    await it.bytes((b"GET /healthz HTTP/1.1\r\n" + HOST + b"\r\n") * it.random.randint(10, 3_000))


async def bad_origin(it: Enemy) -> None:
    origin = it.random.choice([b"http://[", b"null", b"\xff\xfe", b"http://" + b"x" * 5_000])
    await it.bytes(post(b"{}", more=b"Origin: " + origin + b"\r\nX-Forwarded-For: 1.2.3.4, ::1\r\n"))


async def fragments(it: Enemy) -> None:
    key = b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    head = b"GET /ws HTTP/1.1\r\n" + HOST + b"Connection: Upgrade\r\nUpgrade: websocket\r\n" + key
    await it.bytes(head, b"\x01\x80abcd", b"\x00\x80abcd" * it.random.randint(10, 20_000))


async def flood(it: Enemy) -> None:
    command, params = it.random.choice([
        ("submit", {"conversation": "nowhere", "kind": "text", "body": {"text": "x"}}),
        ("user.search", {"query": "an"}),
        ("group.create", {"name": "Room", "members": []}),
        ("inbox.list", {}),
        ("sync", {"epoch": "", "version": 0}),
        ("no.such", {}),
    ])  # fmt: skip
    calls = [{"op": "call", "ref": f"{it.random.random()}", "command": command, "params": params} for _ in range(1_500)]
    await it.socket(*(json.dumps(call) for call in calls), log_in=True, wait=1.0)


async def noise(it: Enemy) -> None:
    frame = it.random.choice([
        {"op": "ping"}, {"op": "note", "event": "typing", "data": {"conversation": "c"}}, {"op": "nonsense"},
    ])  # fmt: skip
    message = json.dumps([frame] * 128)
    await it.socket(*[message] * it.random.randint(1, 50), log_in=it.random.random() < 0.8)


ATTACKS: list[Attack] = [
    nasty_body, nasty_frame, large_head, endless_line, half, rubbish, pipeline, bad_origin, fragments, flood, noise,
]  # fmt: skip


async def flood_at_once(port: int, device: str, token: str, room: str, ready: asyncio.Barrier) -> None:
    """Messages in one frame list, sent when all are ready; until each has its answer."""
    params = {"conversation": room, "kind": "text", "body": {"text": "flood"}}
    calls = [{"op": "call", "ref": f"{device}-{n}", "command": "submit", "params": params} for n in range(45)]
    async with connect(f"ws://127.0.0.1:{port}/ws", open_timeout=30) as socket:
        await socket.send(json.dumps({"op": "hello", "token": token, "device": {"id": device, "platform": "test"}}))
        assert "welcome" in str(await socket.recv())
        await ready.wait()
        await socket.send(json.dumps(calls))
        answered = 0
        while answered < len(calls):
            answered += sum(frame["op"] in ("reply", "error") for frame in await frames(socket, 300))


class Member:
    """Somebody who talks: one message after the other, each until its receipt."""

    def __init__(self, client: httpx2.AsyncClient, conversation: str) -> None:
        self._client, self._conversation = client, conversation

    async def say(self) -> None:
        body = {"conversation": self._conversation, "kind": "text", "body": {"text": "hello"}}
        answer = await self._client.post("/api/submit", json=body)
        assert answer.status_code == 200, answer.text

    async def talk(self, over: asyncio.Event) -> int:
        said = 0
        while not over.is_set():
            await self.say()
            said += 1
            await asyncio.sleep(0.05)
        return said


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[int]:
    port = free_port()
    words = ["--dev", "--port", str(port), "--data", str(folder / "data")]
    environment = {**os.environ, "CHAT__HTTP__LOOP": "asyncio", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "tests.hostile.metered", str(folder / "report"), *words]
    child = Child(command, folder / "log", environment=environment)
    await asyncio.to_thread(child.start, lambda: listens(port))
    try:
        yield port
        assert child.alive
    finally:
        await asyncio.to_thread(child.stop)


async def test_no_variation_makes_a_member_wait(tmp_path: Path) -> None:
    generator = random.Random(SEED)
    attacks = [ATTACKS[number % len(ATTACKS)] for number in range(VARIATIONS)]
    generator.shuffle(attacks)
    async with running(tmp_path) as port, httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:

        async def log_in(name: str, device: str) -> tuple[str, str]:
            asked = {"name": name, "device": {"id": device, "platform": "test"}}
            answer = (await client.post("/api/auth.dev", json=asked)).json()
            return answer["user"]["user"], answer["token"]

        mine, anna = await log_in("anna", "phone")
        devices = {f"d{number}": await log_in("evil", f"d{number}") for number in range(TOGETHER)}
        client.headers["authorization"] = f"Bearer {anna}"
        made = (await client.post("/api/group.create", json={"name": "Room", "members": []})).json()
        member = Member(client, made["conversation"])

        async def beside(work: list[Attack], seed: int) -> int:
            """How much the member said while these went on."""
            over = asyncio.Event()
            talking = asyncio.create_task(member.talk(over))
            tokens = enumerate((device, token) for device, (_, token) in devices.items())
            enemies = [Enemy(port, *which, seed + number) for number, which in tokens]
            await asyncio.gather(*(attack(enemy) for attack, enemy in zip(work, enemies, strict=False)))
            over.set()
            return await talking

        async def at_once(number: int) -> str:
            """All devices of one account spend all its points in the same moment, for messages that are stored."""
            logged_in = [await log_in(f"flood{number}", f"f{device}") for device in range(TOGETHER)]
            user, token = logged_in[0]
            headers = {"authorization": f"Bearer {token}"}
            made = await client.post("/api/group.create", json={"name": "Flood", "members": []}, headers=headers)
            ready = asyncio.Barrier(TOGETHER + 1)

            async def between() -> None:
                await ready.wait()
                await asyncio.gather(*(member.say() for _ in range(20)))

            floods = [
                flood_at_once(port, f"f{device}", token, made.json()["conversation"], ready)
                for device, (_, token) in enumerate(logged_in)
            ]
            await asyncio.gather(between(), *floods)
            return user

        said, began = 0, time.monotonic()
        for at in range(0, VARIATIONS, TOGETHER):
            said += await beside(attacks[at : at + TOGETHER], SEED + at)
        floods = [await at_once(number) for number in range(FLOODS)]
    log = (tmp_path / "log").read_text(errors="replace")
    assert "Traceback" not in log, log[-3_000:]
    assert log.count('"refused"') <= 60, "more than a line a minute for each reason"
    report = json.loads((tmp_path / "report").read_text())
    ahead, stored = report["ahead"][mine], [len(report["ahead"][user]) for user in floods]
    turns = sorted((turn for turn in report["turns"] if turn[0] > began), key=lambda turn: -turn[1])
    longest = turns[0][1] if turns else 0.0
    print(*(f"{cost * 1e3:.1f} ms of CPU: {what}" for _, cost, what in turns[:5]), sep="\n")
    print(
        f"{len(ahead)} messages, floods of {stored} changes, at most {max(ahead)} of one before a message;"
        f" longest turn {longest * 1e3:.1f} ms, a frame {report['reference'] * 1e3:.2f} ms of CPU"
    )
    assert len(ahead) >= said + 20 * FLOODS
    assert min(stored) > AHEAD, "a flood that a share holds whole shows nothing"
    assert max(ahead) <= AHEAD
    assert longest <= TURN * report["reference"]
