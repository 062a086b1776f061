"""Names and sizes of modules, and what may never be committed."""

from __future__ import annotations

import ast
import re
import tomllib
from importlib import metadata

import pytest

from tests.house.tree import PACKAGES, ROOT, sources, tracked

MODULES = list(sources())
LINES = 400
"""Above this a module holds more than one noun. Migrations are generated, and are left alone."""
LONGER = {
    "chat_common.client.chat": (420, "the client's face: half of it are docstrings of its API"),
    "chat_common.contracts.broker": (520, "one check a guarantee of the port, run by every backend in one list"),
}
"""Those that may be longer, up to where, and why."""
PARAMETERS = 8
"""Above this a constructor is handed a whole neighbourhood: give it a record of its neighbours or its settings."""
WIDER = {
    "chat_common.client.chat.ChatClient": (9, "what a program may choose; each has a default but the address"),
}


def test_no_module_is_named_by_what_it_is_not() -> None:
    forbidden = {"utils", "util", "helpers", "helper", "manager", "managers", "base", "misc", "common"}
    for module, _ in MODULES:
        assert not forbidden & set(module.split(".")), module


def test_no_module_is_a_god() -> None:
    assert LONGER.keys() <= {module for module, _ in MODULES}, "a module with an exception is gone"
    for module, path in MODULES:
        if "migrations" not in module and "revisions" not in module:
            lines = len(path.read_text("utf-8").splitlines())
            most = LONGER.get(module, (LINES, ""))[0]
            assert module not in LONGER or lines > LINES, f"{module} needs no exception any more"
            assert lines <= most, f"{module} has {lines} lines, at most {most}"


def _constructors() -> dict[str, int]:
    """Every ``__init__`` with the number of its parameters, self not counted."""
    found = {}
    for module, path in MODULES:
        for kind in ast.walk(ast.parse(path.read_text("utf-8"))):
            for made in kind.body if isinstance(kind, ast.ClassDef) else ():
                if isinstance(made, ast.FunctionDef) and made.name == "__init__":
                    given = len(made.args.posonlyargs) + len(made.args.args) + len(made.args.kwonlyargs) - 1
                    found[f"{module}.{kind.name}"] = given  # type: ignore[attr-defined]
    return found


def test_no_constructor_asks_for_everything() -> None:
    found = _constructors()
    assert len(found) > 50
    assert WIDER.keys() <= found.keys(), "a class with an exception is gone"
    needless = [name for name in WIDER if found[name] <= PARAMETERS]
    assert not needless, f"these need no exception any more: {needless}"
    wide = {name: given for name, given in found.items() if given > WIDER.get(name, (PARAMETERS, ""))[0]}
    assert not wide, f"at most {PARAMETERS} parameters: {wide}"


def test_every_module_says_what_it_is() -> None:
    for module, path in MODULES:
        text = path.read_text("utf-8")
        assert not text.strip() or ast.get_docstring(ast.parse(text)), f"{module} has no docstring"


def test_every_package_is_typed_and_has_a_readme() -> None:
    for name, folder in PACKAGES.items():
        assert (folder / "src" / name / "py.typed").is_file()
        assert (folder / "README.md").is_file()


@pytest.mark.parametrize("name", ["chat_transaction", "chat_oss", "chat_server"])
def test_every_package_is_found_by_its_entry_point(name: str) -> None:
    declared = tomllib.loads((PACKAGES[name] / "pyproject.toml").read_text("utf-8"))
    entries = declared["project"]["entry-points"]["chat_common.plugins"]
    installed = {entry.name: entry.value for entry in metadata.entry_points(group="chat_common.plugins")}
    for key, value in entries.items():
        assert value.startswith(f"{name}.")
        assert installed[key] == value


def test_versions_agree() -> None:
    versions = {
        tomllib.loads((it / "pyproject.toml").read_text("utf-8"))["project"]["version"] for it in PACKAGES.values()
    }
    assert len(versions) == 1


def test_ci_runs_the_readme_command_word_for_word() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    commands = [line.strip() for line in readme.splitlines() if "nox -s tests" in line]
    assert commands
    assert commands[0] in (ROOT / ".ci/run").read_text("utf-8")
    assert (ROOT / ".ci/run").stat().st_mode & 0o111


# Taken apart, so that this file does not find itself.
_MACHINES = [
    "/wo" + "rk/",
    "/ro" + "ot/",
    "/tmp/bash" + "_jobs",
    "pypi" + ".org",
    "pythonhosted" + ".org",
    "registry.npm" + "js",
    "repo.maven." + "apache",
    "proxy.golang" + ".org",
    "index" + "-url",
    "deb.debian" + ".org",
]


def test_nothing_of_one_machine_is_committed() -> None:
    pattern = re.compile("|".join(map(re.escape, _MACHINES)))
    for path in tracked():
        try:
            text = path.read_text("utf-8")
        except UnicodeDecodeError:
            continue
        found = pattern.search(text)
        assert found is None, f"{path.relative_to(ROOT)} holds {found[0]!r}"


def test_no_lock_file_is_committed() -> None:
    """A lock file names download addresses, which are one machine's own."""
    assert not [path for path in tracked() if path.name in {"uv.lock", "poetry.lock", "package-lock.json"}]


def test_tests_do_not_skip_what_must_run() -> None:
    """A test is skipped for a missing server only, by `tests.services`, which fails instead where CI is true."""
    for path in tracked():
        if path.suffix == ".py" and path.is_relative_to(ROOT / "tests") and "house" not in path.parts:
            text = path.read_text("utf-8")
            assert "mark.skip" not in text, path
            assert "mark.xfail" not in text, path
