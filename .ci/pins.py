"""Pins every package that the workspace resolves to one exact version, in pyproject.toml: `nox -s pins`.

A lock file would do the same, but it names the download hosts of the machine that wrote it. These lines name none, and
uv applies them to this workspace alone: whoever installs our wheels is bound by the ranges in their own metadata.

    python .ci/pins.py            # the versions of uv.lock as it is, for packages that are new
    python .ci/pins.py --renew    # the newest versions that our ranges allow
"""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE, LOCK = ROOT / "pyproject.toml", ROOT / "uv.lock"
BLOCK = re.compile(r"constraint-dependencies = \[.*?\n\]\n", re.DOTALL)


def lines(lock: str) -> list[str]:
    """One requirement a package; with markers where Pythons or systems need different versions of it."""
    found = []
    for package in tomllib.loads(lock)["package"]:
        if "registry" in package["source"]:
            markers = " or ".join(f"({marker})" for marker in package.get("resolution-markers", []))
            found.append(f"{package['name']}=={package['version']}" + (f" ; {markers}" if markers else ""))
    return sorted(found)


def main() -> None:
    text = PAGE.read_text("utf-8")
    if "--renew" in sys.argv[1:]:
        PAGE.write_text(BLOCK.sub("constraint-dependencies = [\n]\n", text), "utf-8")
        LOCK.unlink(missing_ok=True)
    subprocess.run([sys.executable, "-m", "uv", "lock", "--quiet"], cwd=ROOT, check=True)
    quoted = [f"  {entry!r}," if '"' in entry else f'  "{entry}",' for entry in lines(LOCK.read_text("utf-8"))]
    block = "\n".join(["constraint-dependencies = [", *quoted, "]\n"])
    PAGE.write_text(BLOCK.sub(lambda _: block, text), "utf-8")


if __name__ == "__main__":
    main()
