"""What is said at one node reaches those who sit at another at once, without a beat."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from chat_common.ports.outbox import Relay
from chat_common.protocol.frames import Push
from chat_server.im import sweeper
from chat_transaction.sql.outbox import shard_of
from chat_transaction.sql.tables import SHARDS

from tests.nodes.cluster import Cluster, group, person
from tests.support.waiting import until


async def test_a_message_crosses_nodes_both_ways(cluster: Cluster) -> None:
    async with cluster.of("a", "b") as (a, b), person(a, "ada") as ada, person(b, "bob") as bob:
        room = await group(ada, bob)
        for number, (one, other) in enumerate([(ada, bob), (bob, ada)] * 5):
            text = f"message {number}"
            await one.client.call("submit", {"conversation": room, "kind": "text", "body": {"text": text}})
            push = await other.client.next(Push, says(text))
            assert push.event == "message"


async def test_rows_of_a_shard_that_another_node_owns_are_not_left_to_its_scan(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeper, "SETTLED_MS", 10**9)  # It would heal what is to be seen.
    cluster.settings["relay"] = {"sql": {"scan_interval": 600.0, "shared_scan_interval": 600.0, "lease": 3.0}}
    async with cluster.of("a", "b") as (a, b), person(a, "ada") as ada, person(b, "bob") as bob:
        relays: list[Any] = [await node.server.assembly.get(Relay) for node in (a, b)]  # type: ignore[type-abstract]
        for relay in relays:
            await until(lambda relay=relay: 0 < len(relay._ownership.open) < SHARDS, what="each has its share")
        foreign = 0
        for number in range(12):
            room = await group(ada, bob)
            foreign += shard_of(room) not in relays[0]._ownership.open
            await ada.client.call("submit", {"conversation": room, "kind": "text", "body": {"text": f"to b {number}"}})
            await bob.client.next(Push, says(f"to b {number}"), timeout=60)
        assert foreign, "no row was for the other node's relay, so this proves nothing"


def says(text: str) -> Callable[[Push], bool]:
    return lambda push: (push.data.get("body") or {}).get("text") == text
