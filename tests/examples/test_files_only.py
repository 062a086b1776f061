"""The album, as a page uses it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import httpx2

from tests.chat_oss import pictures
from tests.support.program import Program

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
