"""Writes what looks alike into the server's package: `python .ci/confusables.py`, from the data of the package
`confusable-homoglyphs`, which is made from Unicode's confusables.txt (UTS 39).

The package keeps each pair both ways and its data as 900 kB of JSON; the server needs one way of it, so it is kept as
lines of 60 kB: a prototype, a tab, and the characters that look like it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

TARGET = Path(__file__).resolve().parent.parent / "packages/chat-server/src/chat_server/names/confusables.txt"
DIRECTION = "\u200e"
"""Unicode's file wraps what runs from right to left into these, for those who read it."""


def table(pairs: Mapping[str, Any]) -> str:
    """The lines. A source has one prototype, a prototype has one source or more; of a single pair, the longer text is
    the prototype, else the one with the lower code point."""
    found: dict[str, set[str]] = {}
    for one, others in pairs.items():
        for other in others:
            mine, its = one.strip(DIRECTION), str(other["c"]).strip(DIRECTION)
            known = len(pairs[other["c"]]), len(its)
            if (known, tuple(-ord(each) for each in its)) > (
                (len(others), len(mine)),
                tuple(-ord(each) for each in mine),
            ) and len(mine) == 1:
                found.setdefault(its, set()).add(mine)
    return "".join(f"{prototype}\t{''.join(sorted(found[prototype]))}\n" for prototype in sorted(found))


def main() -> None:
    from confusable_homoglyphs.confusables import confusables_data

    TARGET.write_text(table(confusables_data), "utf-8", newline="\n")


if __name__ == "__main__":
    main()
