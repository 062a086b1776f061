"""Every piece of code of docs/python-client.md, run against a server."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path
from typing import Any

import pytest
from chat_common.client import dev_login

from tests.support.serving import in_process

PAGE = Path(__file__).parents[2] / "docs" / "python-client.md"
BLOCKS = re.findall(r"^## ([^\n]+)\n.*?```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE)


def test_the_pieces_are_found() -> None:
    assert len(BLOCKS) == PAGE.read_text("utf-8").count("```python") == 5


@pytest.mark.parametrize(("title", "code"), BLOCKS, ids=[title for title, _ in BLOCKS])
async def test_a_piece_of_the_page_runs(title: str, code: str, tmp_path: Path) -> None:
    async with in_process(tmp_path) as (_, url):
        names: dict[str, Any] = {"url": url, "token": (await dev_login(url, "ann")).token}
        running = eval(compile(code, f"{PAGE}: {title}", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), names)
        if inspect.iscoroutine(running):
            await running
