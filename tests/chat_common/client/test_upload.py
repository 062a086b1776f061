"""What is put where, by parts and whole, against a storage that keeps what it gets."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from chat_common.client.upload import LINKS, upload
from chat_common.errors import Unavailable


class Storage(ThreadingHTTPServer):
    def __init__(self) -> None:
        self.taken: dict[str, tuple[bytes, str | None]] = {}
        self.refuse = False
        super().__init__(("127.0.0.1", 0), Taker)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Taker(BaseHTTPRequestHandler):
    server: Storage

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.taken[self.path] = (body, self.headers["x-signed"])
        self.send_response(403 if self.server.refuse else 200)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def storage() -> Iterator[Storage]:
    with Storage() as storage:
        thread = threading.Thread(target=storage.serve_forever)
        thread.start()
        yield storage
        storage.shutdown()
        thread.join()


class Server:
    """Answers the upload commands, with parts of ``part_size`` bytes or whole."""

    def __init__(self, address: str, part_size: int = 0) -> None:
        self.address = address
        self.part_size = part_size
        self.size = 0
        self.calls: list[str] = []

    async def call(self, command: str, params: Any) -> Any:
        self.calls.append(command)
        match command:
            case "upload.begin":
                self.size = params["size"]
                begun: dict[str, Any] = {"file": "f1", "expires_at": 1}
                if self.part_size:
                    return begun | {"part_size": self.part_size, "parts": -(-self.size // self.part_size)}
                return begun | {"put": self.put("whole")}
            case "upload.parts":
                links = [{"number": n, "size": self.length(n), "put": self.put(f"{n}")} for n in params["numbers"]]
                return {"links": links, "have": [], "expires_at": 1}
            case _:
                return {"file": "f1", "name": "n", "type": "text/plain", "size": self.size}

    def put(self, name: str) -> dict[str, Any]:
        return {"method": "PUT", "url": f"{self.address}/{name}", "headers": {"x-signed": "yes"}}

    def length(self, number: int) -> int:
        return min(self.part_size, self.size - (number - 1) * self.part_size)


@pytest.mark.parametrize("relative", [True, False])
async def test_a_small_one_is_put_whole_with_the_headers_of_the_server(storage: Storage, relative: bool) -> None:
    server = Server("" if relative else storage.url)
    facts = await upload(server.call, storage.url, "c", b"hello", "n", "text/plain")
    assert facts.size == 5
    assert storage.taken == {"/whole": (b"hello", "yes")}
    assert server.calls == ["upload.begin", "upload.finish"]


@pytest.mark.parametrize("size", [1, 10, 11, 10 * LINKS, 10 * LINKS + 1])
async def test_a_large_one_goes_in_parts_that_make_it_up(storage: Storage, tmp_path: Path, size: int) -> None:
    path = tmp_path / "content"
    content = bytes(n % 251 for n in range(size))
    path.write_bytes(content)
    server = Server(storage.url, part_size=10)
    await upload(server.call, storage.url, "c", path, "n", "text/plain")
    parts = [storage.taken[f"/{n}"][0] for n in range(1, len(storage.taken) + 1)]
    assert b"".join(parts) == content
    assert server.calls.count("upload.parts") == -(-len(parts) // LINKS)


async def test_a_storage_that_refuses_is_unavailable_and_nothing_is_finished(storage: Storage) -> None:
    storage.refuse = True
    server = Server(storage.url)
    with pytest.raises(Unavailable, match="403"):
        await upload(server.call, storage.url, "c", b"hello", "n", "text/plain")
    assert server.calls == ["upload.begin"]
    with pytest.raises(Unavailable, match="cannot be reached"):
        await upload(Server("http://127.0.0.1:9").call, storage.url, "c", b"hello", "n", "text/plain")
