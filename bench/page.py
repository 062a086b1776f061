"""The tables of docs/performance-results.md that runs write themselves; the prose around them is for people."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = Path(__file__).resolve().parent.parent / "docs" / "performance-results.md"


def write(name: str, text: str, page: Path = PAGE) -> None:
    """Replace the block ``name`` of the page. A page without it gets it at its end."""
    begins, ends = f"<!-- bench: {name} -->", f"<!-- end of {name} -->"
    block = f"{begins}\n\n{text.strip()}\n\n{ends}"
    old = page.read_text("utf-8")
    found = re.compile(f"{re.escape(begins)}.*?{re.escape(ends)}", re.DOTALL)
    new = found.sub(lambda _: block, old) if found.search(old) else f"{old.rstrip()}\n\n{block}\n"
    page.write_text(new, "utf-8")
