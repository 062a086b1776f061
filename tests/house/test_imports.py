"""Who may import whom: the house's plan, asserted on the sources."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.house.tree import PACKAGES, imports, sources, within

MODULES = list(sources())
OURS = set(PACKAGES)
ROOMS = ("gateway", "im", "logic", "auth", "admin", "items", "router")
MAY_KNOW = {
    "chat_common": set[str](),
    "chat_transaction": {"chat_common"},
    "chat_oss": {"chat_common"},
    "chat_server": {"chat_common"},
}
STANDARD = sys.stdlib_module_names
"""Third parties, by package. Names in the second set only inside functions or in the modules of an extra."""
THIRD_PARTIES = {
    "chat_common": ({"attr", "attrs", "pluggy", "msgspec"}, {"websockets"}),
    "chat_transaction": (
        {"attr", "attrs", "pluggy", "msgspec", "sqlalchemy", "alembic"},
        {"redis", "rocketmq", "grpc", "google", "asyncpg", "structlog"},
    ),
    "chat_oss": (
        {"attr", "attrs", "pluggy", "msgspec", "minio", "urllib3", "PIL", "starlette", "sqlalchemy", "alembic"},
        {"certifi", "structlog", "prometheus_client"},
    ),
}


def test_the_sources_are_found() -> None:
    assert {module.split(".")[0] for module, _ in MODULES} == OURS
    assert len(MODULES) > 100


@pytest.mark.parametrize(("module", "path"), MODULES, ids=[module for module, _ in MODULES])
def test_packages_know_only_what_they_may(module: str, path: Path) -> None:
    package = module.split(".")[0]
    known = {name.split(".")[0] for name in imports(module, path)} & OURS - {package}
    assert known <= MAY_KNOW[package], f"{module} imports {known - MAY_KNOW[package]}"


@pytest.mark.parametrize("package", THIRD_PARTIES)
def test_third_parties_are_those_that_were_chosen(package: str) -> None:
    always, in_extras = THIRD_PARTIES[package]
    for module, path in MODULES:
        if not within(module, package):
            continue
        foreign = {name.split(".")[0] for name in imports(module, path)} - STANDARD - OURS - {""}
        assert foreign <= always | in_extras, f"{module} imports {foreign - always - in_extras}"


def test_rooms_never_import_one_another() -> None:
    for module, path in MODULES:
        for room in ROOMS:
            if within(module, f"chat_server.{room}"):
                others = {f"chat_server.{other}" for other in ROOMS if other != room}
                wrong = {name for name in imports(module, path) if any(within(name, other) for other in others)}
                assert not wrong, f"{module} imports {sorted(wrong)}"


STANDS_ON = {
    # chat_server, from the ground up; what is not named here is the composition root
    "chat_server.store": ("names",),
    "chat_server.pipeline": ("store", "services", "counting", "refusals"),
    "chat_server.testing": ("gateway", "server", "services", "store", "transports"),
    "chat_server.embedding": ("http", "names", "pipeline", "store"),
    "chat_server.files": ("store", "pipeline", "contributions"),
    "chat_server.moderation": ("store", "contributions", "refusals", "outgoing", "signing"),
    "chat_server.push": ("auth.public_address", "outgoing", "signing"),
    "chat_server.outgoing": (),
    "chat_server.signing": (),
    "chat_server.contributions": (),
    "chat_server.services": (),
    "chat_server.counting": (),
    "chat_server.names": (),
    "chat_server.im": ("names", "contributions", "services", "store"),
    "chat_server.logic": ("names", "contributions", "services", "store"),
    "chat_server.auth": ("asked_address", "names", "contributions", "services", "store", "counting", "outgoing"),
    "chat_server.admin": ("names", "contributions", "store"),
    "chat_server.items": ("contributions", "store"),
    "chat_server.router": ("contributions", "services", "store"),
    "chat_server.gateway": ("contributions", "services", "counting", "refusals"),
    "chat_server.refusals": (),
    "chat_server.rpc": (),
    "chat_server.transports": ("gateway", "services", "counting", "refusals"),
    "chat_server.http": ("asked_address", "metrics", "pipeline", "services", "transports"),
    # chat_common
    "chat_common.decoding": (),
    "chat_common.errors": (),
    "chat_common.backoff": (),
    "chat_common.clock": (),
    "chat_common.wire": ("decoding", "errors", "validation"),
    "chat_common.validation": ("errors",),
    "chat_common.protocol": ("errors", "wire"),
    "chat_common.codec": ("errors", "protocol", "validation"),
    "chat_common.ports": ("decoding", "errors", "records", "validation", "wire"),
    "chat_common.records": ("clock", "decoding", "ports", "wire"),
    "chat_common.memory": ("clock", "errors", "ports", "records", "settings"),
    "chat_common.contracts": ("errors", "ports"),
    "chat_common.bot": ("client", "errors", "wire"),
    "chat_common.client": ("backoff", "clock", "codec", "decoding", "errors", "ports", "protocol", "wire"),
    # chat_transaction
    "chat_transaction.sql": ("settings",),
    "chat_transaction.brokers": ("headers", "settings"),
    "chat_transaction.redis": ("brokers", "headers", "settings"),
    "chat_transaction.consumers": ("brokers", "sql", "headers", "settings"),
    "chat_transaction.relay": ("brokers", "consumers", "headers", "settings", "sql"),
}
"""What each folder stands on within its package: everything else is above it, or beside it."""


@pytest.mark.parametrize("folder", STANDS_ON)
def test_a_folder_imports_nothing_above_it(folder: str) -> None:
    known = {module for module, _ in MODULES}
    assert folder in known, "a folder of this list is gone"
    package = folder.split(".", maxsplit=1)[0]
    below = (folder, *(f"{package}.{name}" for name in STANDS_ON[folder]))
    for module, path in MODULES:
        if within(module, folder):
            ours = {name for name in imports(module, path) if within(name, package) and name in known} - {package}
            above = {name for name in ours if not any(within(name, it) for it in below)}
            assert not above, f"{module} imports {sorted(above)}"


def test_every_folder_has_its_direction() -> None:
    free = {"chat_server.cli", "chat_server.webclient"}  # the command imports whatever it runs
    folders = {
        module
        for module, path in MODULES
        if path.name == "__init__.py" and module.count(".") == 1 and module.split(".")[0] != "chat_oss"
    }
    assert folders - free <= STANDS_ON.keys()


def test_only_the_composition_root_knows_all_rooms() -> None:
    rooms = {f"chat_server.{room}" for room in ROOMS}
    for module, path in MODULES:
        known = {room for room in rooms for name in imports(module, path) if within(name, room)}
        if known == rooms:
            assert module in {"chat_server.rooms", "chat_server.server", "chat_server.plugin"}, module


def test_gateway_logic_and_router_know_neither_sockets_nor_http() -> None:
    forbidden = ("websockets", "starlette", "uvicorn", "socket", "ssl", "chat_server.transports", "chat_server.http")
    for module, path in MODULES:
        if any(within(module, f"chat_server.{room}") for room in ("gateway", "im", "logic", "router")):
            wrong = {name for name in imports(module, path) if any(within(name, it) for it in forbidden)}
            assert not wrong, f"{module} imports {sorted(wrong)}"


def test_the_protocol_core_does_no_input_or_output() -> None:
    forbidden = {"asyncio", "time", "socket", "ssl", "logging", "threading", "structlog", "websockets", "random", "os"}
    for module, path in MODULES:
        if within(module, "chat_common.protocol"):
            wrong = {name.split(".")[0] for name in imports(module, path)} & forbidden
            assert not wrong, f"{module} imports {sorted(wrong)}"


def test_the_whole_house_imports_without_rocketmq() -> None:
    """Its client writes logs under HOME and starts threads when it is imported, so only its backend's `open` may."""
    script = f"""
import importlib, sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "rocketmq":
            raise ImportError("rocketmq is not to be imported here")
sys.meta_path.insert(0, Refuse())
for name in {[module for module, _ in MODULES if not module.endswith("__main__") and ".migrations" not in module]!r}:
    importlib.import_module(name)
assert "rocketmq" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def test_the_reader_of_imports_sees_what_it_should(tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    path.write_text(
        "import os.path\nfrom . import b\nfrom ..c import d\nfrom chat_server import auth\ndef f():\n import x\n"
    )
    found = imports("chat_server.im.a", path)
    assert {"os.path", "chat_server.im.b", "chat_server.c.d", "chat_server.auth", "x"} <= found
    assert "x" not in imports("chat_server.im.a", path, at_start=True)
