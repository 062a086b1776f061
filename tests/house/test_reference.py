"""What the code has, the reference has: each page lists exactly the names that exist."""

from __future__ import annotations

import ast
import importlib.util
import re
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from chat_common import hookspecs
from chat_common.errors import error_types
from chat_common.events import NOTED, PUSHED
from chat_common.plugins import Plugins
from chat_common.protocol.closing import CloseCode
from chat_server.server import Server

from tests.house.tree import DOCS, REFERENCE, headings, sources


def hooks() -> Iterable[str]:
    return [name for name in vars(hookspecs) if name.startswith("chat_")]


def ports() -> Iterable[str]:
    return [port.__name__ for port in Plugins.load().ports()]


LISTS: dict[str, Callable[[], Iterable[str]]] = {
    "errors": error_types,
    "events": lambda: [*PUSHED, *NOTED],
    "close-codes": lambda: [str(code.value) for code in CloseCode],
    "hooks": hooks,
    "ports": ports,
}


@pytest.mark.parametrize("page", LISTS)
def test_a_page_lists_what_there_is(page: str) -> None:
    listed = headings(REFERENCE / f"{page}.md")
    assert sorted(listed) == sorted(set(listed)), "a heading stands there twice"
    assert set(listed) == set(LISTS[page]())


async def test_every_command_has_its_heading(tmp_path: Path) -> None:
    everything = {"server": {"data": str(tmp_path)}, "auth": {"dev": True}, "ports": {"push_provider": ["log"]}}
    async with Server(settings=everything, environ={}) as server:
        commands = set(server.pipeline.commands)
    assert set(headings(REFERENCE / "commands.md")) == commands


def test_every_section_has_its_heading() -> None:
    assert headings(REFERENCE / "settings.md") == sorted(section.name for section in Plugins.load().sections())


async def test_the_pages_are_what_the_code_makes(tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("docs_generate", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    for name, text in (await generate.pages(tmp_path)).items():
        assert (REFERENCE / f"{name}.md").read_text("utf-8") == text, f"{name}.md: run python docs/generate.py"


def test_every_page_in_the_table_of_contents_exists() -> None:
    index = (DOCS / "index.md").read_text("utf-8")
    for block in re.findall(r"^```\{toctree\}\n(.*?)^```", index, re.MULTILINE | re.DOTALL):
        for line in block.splitlines():
            if line.strip() and not line.startswith(":"):
                assert (DOCS / f"{line.strip()}.md").is_file(), line


def test_every_event_that_is_pushed_is_described() -> None:
    """`Push("name", …)` anywhere in the server, and notes by name, stand in `chat_common.events`."""
    pushed: set[str] = set()
    for module, path in sources():
        if not module.startswith("chat_server"):
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Push":
                name = node.args[0] if node.args else None
                if isinstance(name, ast.Constant):
                    pushed.add(str(name.value))
    assert "message" in pushed
    assert pushed <= set(PUSHED)


def test_every_record_of_an_event_is_constructed_by_the_server() -> None:
    """What the documents describe is what is sent: no record that only the documents know."""
    called = set[str]()
    for module, path in sources():
        if module.startswith("chat_server"):
            tree = ast.walk(ast.parse(path.read_text("utf-8")))
            calls = [node.func for node in tree if isinstance(node, ast.Call)]
            called |= {func.attr for func in calls if isinstance(func, ast.Attribute)}
            called |= {func.id for func in calls if isinstance(func, ast.Name)}
    records = {record.__name__ for record in [*PUSHED.values(), *NOTED.values()]}
    assert records <= called, records - called
