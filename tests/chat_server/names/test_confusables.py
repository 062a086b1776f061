"""What looks alike has one skeleton, and the table is what the library's data make of it."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from chat_server.names.confusables import look, skeleton
from confusable_homoglyphs.confusables import confusables_data

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("paypal", "p\u0430yp\u0430l"),  # Cyrillic а
        ("coco", "\u0441\u043e\u0441\u043e"),  # wholly Cyrillic
        ("ada", "\uff41\uff44\uff41"),  # fullwidth
        ("zoé", "zoe\u0301"),
        ("zoé", "zo\u200bé"),  # zero width space
        ("zoé", "zo\u00adé"),  # soft hyphen
        ("zoé", "zo\u3164é"),  # Hangul filler
        ("admin", "adrnin"),
        ("Ian", "lan"),
        ("o1", "0l"),
    ],
)
def test_what_looks_alike_has_one_skeleton(one: str, other: str) -> None:
    assert skeleton(one) == skeleton(other)


@pytest.mark.parametrize(("one", "other"), [("zoé", "zoe"), ("ada", "adb"), ("王", "玉"), ("a-b", "a_b")])
def test_what_differs_has_two(one: str, other: str) -> None:
    assert skeleton(one) != skeleton(other)


def test_a_name_that_is_its_own_skeleton_needs_none() -> None:
    assert look("Ada") is None
    assert look("Emma") == "ernrna"


def test_the_table_is_the_one_that_the_script_writes() -> None:
    spec = importlib.util.spec_from_file_location("confusables_script", ROOT / ".ci" / "confusables.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    kept = script.TARGET.read_text("utf-8")
    assert kept == script.table(confusables_data)
    assert kept.count("\n") > 3_000
