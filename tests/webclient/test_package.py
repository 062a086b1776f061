"""The client library as a package of npm: what is packed runs, and its types are those of the protocol."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import chat_server
import pytest
from chat_server.http.documents import asyncapi
from chat_server.server import Server

PACKAGE = Path(__file__).parents[2] / "packages" / "chat-client-js"
TYPES = Path(chat_server.__file__).parent / "webclient" / "chat-client.d.ts"
RECORDS = {"User": "User", "Message": "Message", "Member": "Member", "Receipt": "Receipt", "FileLink": "LinkedFile"}


def fields(interface: str) -> dict[str, bool]:
    """Of an interface of the types: name → whether it is optional."""
    block = re.search(
        rf"^export interface {interface} \{{\n(.*?)^\}}", TYPES.read_text("utf-8"), re.MULTILINE | re.DOTALL
    )
    assert block, interface
    return {name: bool(mark) for name, mark in re.findall(r"^  (?:readonly )?(\w+)(\??):", block[1], re.MULTILINE)}


def node(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(arguments, cwd=cwd, capture_output=True, text=True, timeout=120, check=True)


async def test_the_types_are_those_of_the_protocol(tmp_path: Path) -> None:
    given = {"server": {"data": str(tmp_path)}, "auth": {"dev": True}}
    async with Server(settings=given, environ={}) as server:
        schemas = asyncapi(server.pipeline.commands)["components"]["schemas"]
    for interface, record in RECORDS.items():
        schema = schemas[record]
        declared = fields(interface)
        assert set(declared) == set(schema["properties"]), interface
        needed = {name for name, optional in declared.items() if not optional}
        assert needed == set(schema.get("required", [])), interface


def install(tmp_path: Path) -> tuple[Path, set[str]]:
    """Packs the library and installs it; answers a folder whose modules can import it, and the names in the package."""
    if shutil.which("npm") is None:
        assert "CI" not in os.environ, "CI has Node and npm"
        pytest.skip("needs Node 20 or later, with npm")
    copied = tmp_path / "packages" / "chat-client-js"
    shutil.copytree(PACKAGE, copied, ignore=shutil.ignore_patterns("lib", "*.tgz"))
    server = PACKAGE.parent / "chat-server"
    shutil.copytree(server / "src/chat_server/webclient", tmp_path / "packages/chat-server/src/chat_server/webclient")
    shutil.copy(server / "pyproject.toml", tmp_path / "packages/chat-server/pyproject.toml")
    packed: list[dict[str, Any]] = json.loads(node("npm", "pack", "--json", "--offline", cwd=copied).stdout)
    installed = tmp_path / "use" / "node_modules" / "interesting-chat-client"
    installed.mkdir(parents=True)
    node("tar", "xzf", str(copied / packed[0]["filename"]), "--strip-components=1", "-C", str(installed), cwd=tmp_path)
    return tmp_path / "use", {file["path"] for file in packed[0]["files"]}


def test_what_is_packed_runs(tmp_path: Path) -> None:
    use, names = install(tmp_path)
    assert {"lib/chat-client.js", "lib/chat-client.d.ts", "lib/client/client.js", "package.json", "README.md"} <= names
    assert not [name for name in names if name.startswith(("lib/app", "lib/vendor"))]
    tell = "import * as all from 'interesting-chat-client'; console.log(Object.keys(all).sort().join(' '))"
    names = set(node("node", "--input-type=module", "-e", tell, cwd=use).stdout.split())
    declared = set(re.findall(r"^export (?:class|function|const) (\w+)", TYPES.read_text("utf-8"), re.MULTILINE))
    assert names == declared
