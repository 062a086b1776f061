"""Equal nodes as processes on one PostgreSQL and one Redis, behind a balancer: they may be killed and restarted."""

from __future__ import annotations

import asyncio
import json
import random
import signal
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.faults_proxy import FaultsProxy
from tests.services.process import free_port
from tests.support.zygote import Zygote


class Balancer(FaultsProxy):
    """Gives each new connection to any one of the nodes that take it."""

    def __init__(self, dice: random.Random) -> None:
        super().__init__(("127.0.0.1", 0))
        self.dice = dice
        self.ports: list[int] = []

    async def _reach(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        for port in self.dice.sample(self.ports, len(self.ports)):
            try:
                return await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                continue
        raise ConnectionRefusedError("no node takes connections")


class ProcessNode(Zygote):
    """One `chat-server`; ``name`` is the same over its lives."""

    def __init__(self, name: str, folder: Path, settings: Mapping[str, Any], **how: Any) -> None:
        folder.mkdir(parents=True)
        port = free_port()
        rpc = {"rpc": {"grpc": {"address": f"127.0.0.1:{port}"}}, "server": {"node": name}}
        path = folder / "chat.toml"
        path.write_text("\n".join(toml(merged(settings, rpc))))
        self.name, self.config = name, path
        super().__init__(folder / "data", "--config", str(path), **how)


class ProcessNodes:
    """Looks like one server to a kill run: `stop` kills any of them, `start` starts those that are dead."""

    def __init__(
        self,
        folder: Path,
        names: Sequence[str],
        settings: Mapping[str, Any],
        dice: random.Random | None = None,
        **how: Any,
    ) -> None:
        """``how``: see `Zygote`."""
        self.dice = dice or random.Random(0)
        self.each = {name: ProcessNode(name, folder / name, settings, **how) for name in names}
        self.balancer = Balancer(self.dice)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.balancer.port}"

    @property
    def output(self) -> list[str]:
        return [line for node in self.each.values() for line in node.output]

    async def open(self) -> None:
        await asyncio.gather(*(node.open() for node in self.each.values()))
        self.balancer.ports = [node.port for node in self.each.values()]
        await self.balancer.up()

    async def close(self) -> None:
        await self.balancer.down()
        await asyncio.gather(*(node.close() for node in self.each.values()))

    async def start(self) -> None:
        await asyncio.gather(*(node.start() for node in self.each.values() if node.pid is None))

    async def stop(self, how: signal.Signals = signal.SIGKILL) -> None:
        await self.dice.choice([node for node in self.each.values() if node.pid is not None]).stop(how)


def shared_settings(database: str, redis: str, **more: Mapping[str, Any]) -> dict[str, Any]:
    """What nodes on this PostgreSQL and this Redis have in common."""
    common: dict[str, Any] = {
        "ports": {"database": "postgresql", "directory": "redis", "cache": "redis", "rpc": "grpc"},
        "database": {"postgresql": {"url": database}},
        "directory": {"redis": {"url": redis}},
        "cache": {"redis": {"url": redis}},
    }
    return merged(common, more)


def merged(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(one)
    for key, value in other.items():
        found[key] = merged(found[key], value) if isinstance(found.get(key), dict) else value
    return found


def toml(settings: Mapping[str, Any], section: str = "") -> Iterator[str]:
    """These settings as lines of a TOML file."""
    plain = {key: value for key, value in settings.items() if not isinstance(value, Mapping)}
    if section:
        yield f"[{section}]"
    yield from (f"{key} = {json.dumps(value)}" for key, value in plain.items())
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from toml(value, f"{section}.{key}" if section else key)
