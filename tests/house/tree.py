"""The checkout as these tests read it."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
DOCS = ROOT / "docs"
REFERENCE = DOCS / "reference"
PACKAGES = {
    "chat_common": ROOT / "packages/chat-common",
    "chat_transaction": ROOT / "packages/chat-transaction",
    "chat_oss": ROOT / "packages/chat-oss",
    "chat_server": ROOT / "packages/chat-server",
}


def sources() -> Iterator[tuple[str, Path]]:
    """Every module of the four packages: its dotted name and its file."""
    for name, folder in PACKAGES.items():
        source = folder / "src"
        for path in sorted((source / name).rglob("*.py")):
            parts = path.relative_to(source).with_suffix("").parts
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def imports(module: str, path: Path, *, at_start: bool = False) -> set[str]:
    """Dotted names that a module imports, wherever it does; ``at_start``: only when it is itself imported."""
    found: set[str] = set()
    tree = ast.parse(path.read_text("utf-8"))
    for node in _at_start(tree) if at_start else ast.walk(tree):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
                base = ".".join([*package[: len(package) - node.level + 1], *([base] if base else [])])
            # `from chat_server import auth` imports a room as much as `import chat_server.auth` does.
            found.update({base, *(f"{base}.{alias.name}" for alias in node.names)})
    return found


def _at_start(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        yield child
        yield from _at_start(child)


def within(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def tracked() -> list[Path]:
    """The files that are committed."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def headings(page: Path) -> list[str]:
    """The second-level headings of a reference page: the names that it lists."""
    text = re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    return [name.strip("`[] ") for name in re.findall(r"^## +(.+)$", text, re.MULTILINE)]
