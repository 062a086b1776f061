"""Every program of the package's README does what it says."""

from __future__ import annotations

import re
from pathlib import Path

import chat_oss
import pytest

from tests.services.minio import running_minio
from tests.support.program import Program, output_of

README = Path(chat_oss.__file__).parents[2] / "README.md"
STORE, MINIO, SERVICE, CLIENT = re.findall(r"```python\n(.*?)```", README.read_text("utf-8"), re.DOTALL)


async def test_the_store(tmp_path: Path) -> None:
    content, link = (await output_of(STORE, tmp_path)).splitlines()
    assert content == "b'...'"
    assert link.startswith("objects/reports/1?ticket=")


async def test_minio(tmp_path: Path) -> None:
    with running_minio(tmp_path) as server:
        settings = (
            ("http://127.0.0.1:9000", server.endpoint),
            ("key", server.access_key),
            ("secret", server.secret_key),
        )
        program = MINIO
        for said, real in settings:
            assert f'"{said}"' in program
            program = program.replace(f'"{said}"', repr(real))
        assert "\nlinks: " in await output_of(program, tmp_path)


async def test_the_service_and_its_client(
    tmp_path: Path, unused_tcp_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "service.py"
    script.write_text(SERVICE.replace("8090", str(unused_tcp_port)), "utf-8")
    monkeypatch.chdir(tmp_path)
    async with Program(str(script)) as program:
        await program.says("Uvicorn running")
        assert await output_of(CLIENT.replace("8090", str(unused_tcp_port)), tmp_path) == "b'hello'\n"
        assert len([path for path in (tmp_path / "objects" / "objects").rglob("=*") if path.is_file()]) == 1
