"""Types are looked at before threads decode into them."""

from __future__ import annotations

import ast
import subprocess
import sys
from typing import Any

from attrs import define
from chat_common.decoding import prepare
from chat_common.records import Caller, Command, ContentKind, Ensured

from tests.house.tree import sources

KEPT = "__msgspec_cache__"
"""Where msgspec keeps with a class what it has found of it."""


@define
class Inner:
    number: int = 0


@define
class Outer:
    inner: Inner | None = None


async def nothing(*_given: Any) -> Any:
    return None


def test_a_record_prepares_the_types_that_it_brings() -> None:
    def fresh() -> tuple[type[Any], type[Any]]:
        @define
        class Part:
            number: int = 0

        @define
        class Whole:
            part: Part | None = None

        Whole.__annotations__["part"] = Part | None
        return Whole, Part

    for brings in (
        lambda kind: ContentKind("a", kind, str),
        lambda kind: Command("a", kind, Inner, nothing),
        lambda kind: Command("a", Inner, kind, nothing),
        lambda kind: Ensured("a", 1, kind, nothing),
    ):
        whole, part = fresh()
        assert not hasattr(whole, KEPT)
        brings(whole)
        assert hasattr(whole, KEPT)
        assert hasattr(part, KEPT)


def test_what_msgspec_cannot_read_is_left_alone() -> None:
    prepare(Caller, object(), dict[Outer, complex])


def test_threads_that_are_the_first_to_decode_do_not_end_the_process() -> None:
    """The way that servers died; without `prepare` this ends with a segmentation fault in most runs."""
    script = """
import sys, threading
import msgspec
from attrs import define
from chat_common.decoding import prepare

sys.setswitchinterval(1e-6)
for _ in range(300):
    @define
    class Part:
        number: int = 0

    @define
    class Whole:
        text: str
        parts: list[Part] = []
        named: dict[str, Part] = {}

    prepare(Whole)
    gate = threading.Barrier(4)

    def work():
        gate.wait()
        msgspec.convert({"text": "x", "parts": [{"number": 1}]}, Whole)

    threads = [threading.Thread(target=work) for _ in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
print("alive")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "alive\n"), done.stderr


def test_each_class_that_is_decoded_into_by_name_is_prepared() -> None:
    """``decode(…, type=Name)`` and ``convert(…, Name)`` inside a function: its module, or the one that it comes from,
    prepares it."""
    prepared: dict[str, set[str]] = {}
    wanted: list[tuple[str, str]] = []
    for module, path in sources():
        tree = ast.parse(path.read_text("utf-8"))
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call):
                continue
            called = ast.unparse(node.func)
            if called == "prepare":
                prepared.setdefault(module, set()).update(ast.unparse(each) for each in node.args)
            elif called.startswith("msgspec.") and called.endswith((".decode", ".convert")):
                given = [word.value for word in node.keywords if word.arg == "type"]
                if called.endswith(".convert"):
                    given = node.args[1:2]
                wanted += [(module, name.id) for each in given for name in ast.walk(each) if isinstance(name, ast.Name)]
    known = set().union(*prepared.values())
    classes = [(module, name) for module, name in wanted if name.lstrip("_")[:1].isupper() and name != "Any"]
    assert ("chat_oss.folder", "_Header") in classes, "the search finds nothing"
    assert [each for each in classes if each[1] not in known] == []
