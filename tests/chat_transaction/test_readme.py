"""Every program of the package's README does what it says."""

from __future__ import annotations

import re
from pathlib import Path

import chat_transaction

from tests.services.redis import running_redis
from tests.support.program import output_of

README = Path(chat_transaction.__file__).parents[2] / "README.md"
CALL, CONSUME, BROKER = re.findall(r"```python\n(.*?)```", README.read_text("utf-8"), re.DOTALL)


async def test_a_call_after_the_commit(tmp_path: Path) -> None:
    assert await output_of(CALL, tmp_path) == "mail to ann@example.org\n"


async def test_an_effect_that_happens_once(tmp_path: Path) -> None:
    sold, buried = (await output_of(CONSUME, tmp_path)).splitlines()
    assert sold == """['"chair"', '"lamp"']"""
    assert buried.startswith("stock ValueError: there are none")


async def test_through_redis(tmp_path: Path) -> None:
    with running_redis(tmp_path / "redis") as server:
        address = "redis://127.0.0.1:6379/0"
        assert address in BROKER
        assert await output_of(BROKER.replace(address, server.url), tmp_path) == 'sold "lamp"\n'
