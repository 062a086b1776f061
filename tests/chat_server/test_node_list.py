"""Which servers there are: as an admin asks a running server, and as `chat-server nodes` asks without one."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from chat_common.clock import ManualClock
from chat_common.errors import NotPermitted
from chat_common.memory.directory import MemoryDirectory
from chat_common.ports.directory import GONE, NodeRecord
from chat_common.ports.outbox import DeadLetters
from chat_server.admin.records import SetRole
from chat_server.cli import main
from chat_server.node_list import NodeList
from chat_server.server import Server
from chat_server.store.leases import Leases
from click.testing import CliRunner


async def test_who_runs_who_stops_and_who_is_gone_until_it_is_forgotten(tmp_path: Path) -> None:
    clock = ManualClock()
    directory = MemoryDirectory(clock)
    records = [NodeRecord(name, "b", 1_000, f"10.0.0.{n}:7000") for n, name in enumerate(("a", "b", "c"))]
    stopping = NodeRecord("b", "b", 1_000, load={"connections": 7}, stopping=True)
    async with Server(settings={"server": {"data": str(tmp_path)}}, environ={}, clock=clock) as server:
        letters: DeadLetters = await server.assembly.get(DeadLetters)  # type: ignore[type-abstract]
        leases = Leases(server.database, clock, "a", ttl=100.0)
        leases.of("sweeper")
        await leases.renew()
        for record, lease in ((records[0], 60.0), (stopping, 60.0), (records[2], 10.0)):
            await directory.announce(record, lease=lease)
        clock.advance(30.0)
        nodes = NodeList(directory, server.database, letters, clock, alone=False, own=lambda: records[0])
        shown = {each.node: each for each in (await nodes.show()).nodes}
        assert {name: each.state for name, each in shown.items()} == {"a": "runs", "b": "stops", "c": "gone"}
        assert (shown["a"].here, shown["a"].leases, shown["b"].leases) == (True, ["sweeper"], [])
        assert (shown["b"].here, shown["b"].load) == (False, {"connections": 7})
        assert shown["c"].gone_at == clock.wall_ms() - 20_000
        clock.advance(GONE)
        assert [each.node for each in (await nodes.show()).nodes if each.node == "c"] == []


def _console(*words: str) -> str:
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output
    return result.output


async def test_an_admin_asks_a_running_server_and_the_console_says_when_only_that_knows(tmp_path: Path) -> None:
    settings = {"server": {"data": str(tmp_path), "node": "chat-1"}}
    async with Server(settings=settings, environ={}) as server:
        ada = (await server.ensure_user("ada")).user
        with pytest.raises(NotPermitted):
            await server.call("admin.nodes", user=ada)
        await server.rooms.admin.users.set_role("console:me", SetRole(user=ada, role="admin"))
        found = await server.call("admin.nodes", user=ada)
        (node,) = found.nodes
        assert (node.node, node.state, node.here, found.alone) == ("chat-1", "runs", True, True)
        assert node.load["connections"] == 0
        assert "gateway" in node.roles
    text = await asyncio.to_thread(_console, "nodes", "--data", str(tmp_path))
    assert "ask it, by admin.nodes" in text
    told = await asyncio.to_thread(_console, "nodes", "--json", "--data", str(tmp_path))
    assert json.loads(told)["alone"] is True
