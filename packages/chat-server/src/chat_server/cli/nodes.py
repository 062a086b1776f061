"""``chat-server nodes``: which servers there are, from the directory and the database that the settings name."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from chat_common.assembly import Assembly
from chat_common.clock import SystemClock
from chat_common.settings import SetupError
from msgspec import UNSET

from chat_server.cli.choice import Choice
from chat_server.cli.data import furnish, is_embedded, load, sqlite_file
from chat_server.cli.output import moment, show
from chat_server.node_list import NodeList, NodeShown, NodesShown


def show_nodes(choice: Choice, as_json: bool) -> None:
    """Print them."""
    found = asyncio.run(_found(choice))
    show(found, as_json, _lines(found))


async def _found(choice: Choice) -> NodesShown:
    plugins, settings = load(choice)
    if is_embedded(settings) and not sqlite_file(choice).exists():
        raise SetupError("There is no database yet, because the server has not run with these settings.")
    clock = SystemClock()
    async with Assembly(plugins, settings, clock=clock) as assembly:
        furnish(assembly, settings)
        alone = getattr(settings.section("ports"), "directory", None) in (None, "memory")
        nodes = await NodeList.of(assembly, alone)
        return await nodes.show()


def _lines(found: NodesShown) -> Sequence[str]:
    if found.alone:
        first = ["A server whose [ports] directory is memory is seen by itself alone: ask it, by admin.nodes."]
    else:
        wide = max((len(each.node) for each in found.nodes), default=0)
        first = [_line(each, wide) for each in found.nodes] or ["no server is running"]
    return [*first, f"outbox: {found.outbox_owed} rows are owed"]


def _line(node: NodeShown, wide: int) -> str:
    words = [
        f"{node.node:<{wide}}  {node.state:<5}  since {moment(node.started)}",
        node.release,
        node.address or "(no address)",
        *(f"{name}={number}" for name, number in node.load.items()),
        f"roles={','.join(node.roles)}",
        f"leases={','.join(node.leases) or '-'}",
    ]
    if node.gone_at is not UNSET:
        words.insert(1, f"gone {moment(node.gone_at)}")
    return "  ".join(words)
