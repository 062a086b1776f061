"""The random uploads of chat_oss with the rows of the server's own database, on each engine."""

from __future__ import annotations

import httpx2
import pytest
from chat_common.clock import ManualClock
from chat_common.ports.objects import ObjectStore
from chat_server.files.rights import SqlFileRights
from chat_server.server import Server

from tests.chat_oss.random_uploads import World
from tests.chat_server.house import Store

KINDS = {"text/plain": "file", "image/png": "image", "application/octet-stream": "file"}


@pytest.mark.parametrize("seed", range(12))
async def test_store_and_tables_agree_whatever_happens(seed: int, store: Store) -> None:
    clock = ManualClock()
    settings = {**store.settings, "im": {"recall_seconds": 1e9}, "object_store.local": {"public_url": "http://store"}}
    async with Server(settings=settings, clock=clock, environ={}) as server:
        ada, bob = [(await server.ensure_user(name)).user for name in ("ada", "bob")]
        group = await server.call("group.create", {"name": "room", "members": [bob]}, user=ada)
        sent: dict[str, tuple[str, int]] = {}

        async def send(user: str, type: str, file: str) -> None:
            request = {"conversation": group.conversation, "kind": KINDS[type], "body": {"file": file}}
            receipt = await server.call("submit", request, user=user)
            sent[file] = user, receipt.seq

        async def recall(file: str) -> None:
            user, seq = sent[file]
            await server.call("message.recall", {"conversation": group.conversation, "seq": seq}, user=user)

        objects = await server.assembly.get(ObjectStore)  # type: ignore[type-abstract]
        transport = httpx2.ASGITransport(server.app)
        async with httpx2.AsyncClient(transport=transport, timeout=30) as web:
            world = World(
                clock, objects, server.database, SqlFileRights(), web, (ada, bob), group.conversation, send, recall
            )
            await world.run(seed, 40)
