"""The reference pages are what the code says, and nothing that clients can meet lacks its heading."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any

import pytest
from chat_common.protocol.closing import CloseCode

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def generate() -> dict[str, Any]:
    return runpy.run_path(str(DOCS / "generate.py"))


async def test_the_reference_is_what_the_code_says(generate: dict[str, Any], tmp_path: Path) -> None:
    for name, text in (await generate["pages"](tmp_path)).items():
        written = (DOCS / "reference" / f"{name}.md").read_text()
        assert written == text, f"docs/reference/{name}.md is out of date: run `python docs/generate.py`"


def test_every_event_that_the_server_pushes_is_described(generate: dict[str, Any]) -> None:
    source = "\n".join(path.read_text() for path in (DOCS.parent / "packages").rglob("src/**/*.py"))
    pushed = set(re.findall(r'\bPush\(\s*"(\w+)"', source)) | set(re.findall(r'\bnote\([^()]*, "(\w+)"', source))
    assert {"message", "inbox"} <= pushed
    assert pushed <= set(generate["EVENTS"])


def test_close_codes_stand_on_the_protocol_page() -> None:
    page = (DOCS / "protocol.md").read_text()
    assert [int(code) for code in CloseCode if str(int(code)) not in page] == []
