"""Another commit of this repository, installed beside this one, and how the figures of both compare."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from attrs import frozen

from bench.process import BUILD, HERE
from bench.report import Row

ROOT = HERE.parent


@frozen
class Tree:
    """An installed state of the code: its short commit, and the programs of its environment."""

    commit: str
    python: Path
    program: Path


def this_tree() -> Tree:
    """What is checked out here, marked when `packages/` was changed since the commit."""
    python = Path(sys.executable)
    changed = "+" if _git("status", "--porcelain", "packages") else ""
    return Tree(_git("rev-parse", "--short=7", "HEAD") + changed, python, python.with_name("chat-server"))


def installed() -> Tree:
    """What is checked out here, in an environment of its own without what tests need: libraries import others of those
    when they find them (structlog takes rich, PyJWT cryptography), which would count as the server's start."""
    folder = BUILD / "trees" / "this"
    return Tree(this_tree().commit, *_environment(ROOT, folder))


def tree_of(commit: str) -> Tree:
    """The commit in a work tree of its own under bench/build/trees, with an environment of its own, by `uv sync`."""
    short = _git("rev-parse", "--short=7", f"{commit}^{{commit}}")
    folder = BUILD / "trees" / short
    if not folder.exists():
        _git("worktree", "prune")
        _git("worktree", "add", "--detach", str(folder), short)
    return Tree(short, *_environment(folder, folder / ".venv"))


def _environment(project: Path, folder: Path) -> tuple[Path, Path]:
    """The interpreter and the program of the project's environment in that folder, which holds what users install."""
    env = {key: value for key, value in os.environ.items() if key != "VIRTUAL_ENV"}
    sync = [sys.executable, "-m", "uv", "sync", "--quiet", "--no-dev", "--python", sys.executable]
    subprocess.run([*sync], cwd=project, env={**env, "UV_PROJECT_ENVIRONMENT": str(folder)}, check=True)
    python = folder / "bin" / "python"
    return python, python.with_name("chat-server")


def table(news: Sequence[Sequence[Row]], olds: Sequence[Sequence[Row]]) -> str:
    """Markdown: medians over the rounds of each tree, and new divided by old."""
    lines = ["| what | figure | old | new | new ÷ old |", "|---|---|---|---|---|"]
    for place, row in enumerate(news[0]):
        for name in row.figures:
            new = median(rows[place].figures[name] for rows in news)
            old = median(rows[place].figures[name] for rows in olds)
            ratio = f"{new / old:.2f}" if old else ""
            lines.append(f"| {row.what} | {name} | {old:,.2f} | {new:,.2f} | {ratio} |")
    return "\n".join(lines)


def _git(*words: str) -> str:
    return subprocess.run(["git", *words], cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()
