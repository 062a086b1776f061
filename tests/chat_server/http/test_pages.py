"""How the web client's files come: in one round, packed, and never again."""

import gzip
import re
from pathlib import Path

import httpx2
import pytest
from chat_server.http.app import WEB_CLIENT
from chat_server.http.pages import WebClient
from starlette.applications import Starlette


@pytest.fixture
def browser() -> httpx2.AsyncClient:
    app = Starlette(routes=WebClient(WEB_CLIENT).routes())
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://chat.example")


async def test_the_page_names_everything_it_needs_by_its_digest(browser: httpx2.AsyncClient) -> None:
    page = (await browser.get("/")).text
    named = re.findall(r'(?:href|src)="(static/[^"]+)"', page)
    digest = WebClient(WEB_CLIENT).digest
    assert named
    assert all(name.startswith(f"static/{digest}/") for name in named)
    for name in named:
        answer = await browser.get(f"/{name}")
        assert answer.status_code == 200, name
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    # every module that a module names is preloaded: one round, however deep they lie
    preloaded = {name.partition(f"{digest}/")[2] for name in named}
    for module in preloaded:
        if not module.endswith(".js"):
            continue
        text = (WEB_CLIENT / module).read_text("utf-8")
        for wanted in re.findall(r'^(?:import|export) [^;]*?from "(\.[^"]+)"', text, re.MULTILINE | re.DOTALL):
            assert (WEB_CLIENT / module).parent.joinpath(wanted).resolve().relative_to(
                WEB_CLIENT
            ).as_posix() in preloaded


async def test_text_comes_packed_for_who_takes_it(browser: httpx2.AsyncClient) -> None:
    packed = await browser.get("/static/app/main.js", headers={"accept-encoding": "gzip"})
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.headers["vary"] == "accept-encoding"
    plain = await browser.get("/static/app/main.js", headers={"accept-encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert plain.content == packed.content == (WEB_CLIENT / "app/main.js").read_bytes()
    script = sum(len(gzip.compress(path.read_bytes())) for path in WEB_CLIENT.rglob("*.js"))
    assert script < 300_000  # look again at a build when this is not so


async def test_a_file_is_packed_once_and_only_when_somebody_asks(
    browser: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed, compress = list[bytes](), gzip.compress

    def counted(content: bytes, *, mtime: float | None = None) -> bytes:
        packed.append(content)
        return compress(content, mtime=mtime)

    monkeypatch.setattr(gzip, "compress", counted)
    page = await browser.get("/", headers={"accept-encoding": "gzip"})
    assert page.status_code == 200
    assert not packed
    first = await browser.get("/static/app/main.js", headers={"accept-encoding": "gzip"})
    again = await browser.get("/static/app/main.js", headers={"accept-encoding": "gzip"})
    kept = await browser.get("/static/style/base.css", headers={"if-none-match": page.headers["etag"]})
    assert kept.status_code == 304
    assert first.content == again.content
    assert packed == [(WEB_CLIENT / "app/main.js").read_bytes()]


async def test_another_content_has_another_digest(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("<html><head>\n</head></html>")
    (tmp_path / "app").mkdir()
    (tmp_path / "app/main.js").write_text("1")
    before = WebClient(tmp_path).digest
    assert WebClient(tmp_path).digest == before
    (tmp_path / "app/main.js").write_text("2")
    assert WebClient(tmp_path).digest != before


async def test_an_old_digest_is_not_answered_with_new_files(browser: httpx2.AsyncClient) -> None:
    assert (await browser.get("/static/0123456789abcdef/app/main.js")).status_code == 404
