"""Every regular expression of the packages, on text made of its own words: what it costs grows as the text does."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from re import _constants as ops  # type: ignore[attr-defined]
from re import _parser  # type: ignore[attr-defined]
from typing import Any

import pytest

from tests.house.tree import sources
from tests.support.cost import growth

SMALL, LARGE = 1_024, 16_384
LINEAR = 4 * LARGE / SMALL
USED_AT_THE_BEGINNING = {"_BOUNDARY", "_KEY", "_PREFIX", "_TYPE", "_LIMIT", "_MISSING", "_PLAIN", "_RANGE", "_LENGTH"}
"""Those that are asked by ``match`` or ``fullmatch``; all others are searched for, which has to be linear too."""


def compiled() -> Iterator[tuple[str, re.Pattern[Any]]]:
    for module, path in sources():
        text = path.read_text("utf-8")
        if "re.compile(" not in text:
            continue
        for name, value in vars(importlib.import_module(module)).items():
            for number, found in enumerate(inside(value)):
                yield f"{module}.{name}[{number}]", found


def inside(value: Any) -> Iterator[re.Pattern[Any]]:
    if isinstance(value, re.Pattern):
        yield value
    elif isinstance(value, tuple):
        for each in value:
            yield from inside(each)


def words(pattern: re.Pattern[Any]) -> list[str]:
    """The literal runs of a pattern, and a character that each of its sets takes."""
    runs: list[str] = []

    def walk(parts: Any) -> None:
        run = ""
        for op, argument in parts:
            if op is ops.LITERAL:
                run += chr(argument)
                continue
            runs.append(run)
            run = ""
            if op is ops.IN:
                runs.extend([chr(low) for kind, low in argument if kind is ops.LITERAL][:2])
                runs.extend([chr(pair[0]) for kind, pair in argument if kind is ops.RANGE][:1])
            for inner in argument if isinstance(argument, tuple | list) else [argument]:
                for each in inner if isinstance(inner, list) else [inner]:
                    if isinstance(each, _parser.SubPattern):
                        walk(each)
        runs.append(run)

    walk(
        _parser.parse(
            pattern.pattern, pattern.flags & ~re.UNICODE if isinstance(pattern.pattern, bytes) else pattern.flags
        )
    )
    return sorted({run for run in runs if run} | {"a", '"', " "})


@pytest.mark.parametrize(
    ("name", "pattern"), list(compiled()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_no_pattern_costs_more_than_its_text(name: str, pattern: re.Pattern[Any]) -> None:
    at_the_beginning = name.rpartition(".")[2].partition("[")[0] in USED_AT_THE_BEGINNING
    ask = pattern.match if at_the_beginning else pattern.search

    def made(beginning: str, unit: str, size: int) -> Any:
        text = f"{(beginning + unit * size)[:size]}\n!"
        return text.encode("latin-1") if isinstance(pattern.pattern, bytes) else text

    parts = words(pattern)
    for beginning in ["", *parts, "".join(parts)]:
        for unit in [*parts, *(first + second for first in parts for second in parts if first != second)]:
            ask(made(beginning, unit, 24))  # What is exponential would never end at the sizes below.
            ratio = growth(
                lambda text: (ask(text), pattern.fullmatch(text)), *(made(beginning, unit, n) for n in (SMALL, LARGE))
            )
            assert ratio < LINEAR, f"{name}: {beginning!r} and then {unit!r} again and again"
