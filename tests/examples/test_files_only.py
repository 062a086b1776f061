"""The album, as a page uses it."""

from __future__ import annotations

import os
import runpy
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import httpx2
from chat_common.clock import ManualClock

from tests.chat_oss import pictures
from tests.support.program import Program
from tests.support.waiting import until

SCRIPT = str(Path(__file__).parents[2] / "examples" / "files-only" / "album.py")


async def test_a_picture_hangs_for_everybody(tmp_path: Path, unused_tcp_port: int, monkeypatch: Any) -> None:
    monkeypatch.setitem(os.environ, "ALBUM", str(tmp_path / "album"))
    async with Program(SCRIPT, str(unused_tcp_port)) as program:
        await program.says("Uvicorn running")
        base = f"http://127.0.0.1:{unused_tcp_port}/"
        async with httpx2.AsyncClient(base_url=base, headers={"X-Visitor": "ann"}) as web:
            assert "Album" in (await web.get("/")).text
            data = pictures.jpeg(800, 600, orientation=6)
            begun = (await web.post("/begin", json={"name": "a.jpg", "type": "image/jpeg", "size": len(data)})).json()
            put = await web.put(begun["put"]["url"], headers=begun["put"]["headers"], content=data)
            assert put.status_code == 200
            facts = (await web.post("/finish", json={"file": begun["file"]})).json()
            assert (facts["width"], facts["height"]) == (600, 800)
            again = await web.post("/finish", json={"file": begun["file"]})  # its answer was lost
            assert (again.status_code, again.json()) == (200, facts)
            other = await web.post("/finish", json={"file": begun["file"]}, headers={"Idempotency-Key": "other"})
            assert other.status_code == 409
            [hung] = (await web.get("/pictures", headers={"X-Visitor": "bob"})).json()["files"]
            for name in ("url", "small"):
                shown = await web.get(urljoin(base, hung[name]))
                assert shown.headers["content-type"] == "image/jpeg"
                assert pictures.SECRET not in shown.content
            refused = await web.post("/begin", json={"name": "a.exe", "type": "application/x-msdownload", "size": 9})
            assert refused.json()["field"] == "type"
            for body in (b"[]", b'"text"', b"{", b"\xff", b""):
                for path in ("/begin", "/finish"):
                    refused = await web.post(path, content=body)
                    assert (refused.status_code, refused.json()["code"]) == (400, "invalid")
                    assert "JSON object" in refused.json()["message"]
            refused = await web.post("/begin", json={"type": "image/png", "size": 1})
            assert (refused.status_code, refused.json()["field"]) == (400, "name")
            assert (await web.get("/pictures", headers={"X-Visitor": ""})).status_code == 401


async def test_what_nobody_finishes_is_swept(tmp_path: Path) -> None:
    clock = ManualClock()
    open_album = runpy.run_path(SCRIPT)["open_album"]

    def objects() -> list[Path]:
        return [path for path in (tmp_path / "objects").rglob("*") if path.is_file()]

    async with open_album(tmp_path, clock, sweep_seconds=0.01) as app:
        transport = httpx2.ASGITransport(app)
        async with httpx2.AsyncClient(
            transport=transport, base_url="http://album/", headers={"X-Visitor": "ann"}
        ) as web:
            begun = (await web.post("/begin", json={"name": "a.png", "type": "image/png", "size": 3})).json()["put"]
            assert (await web.put(begun["url"], headers=begun["headers"], content=b"abc")).status_code == 200
            assert len(objects()) == 1
            clock.advance(3 * 3600)
            await until(lambda: not objects())
