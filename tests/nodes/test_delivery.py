"""What is said at one node reaches those who sit at another at once, without a beat."""

from __future__ import annotations

from chat_common.protocol.frames import Push

from tests.nodes.cluster import Cluster, group, person


async def test_a_message_crosses_nodes_both_ways(cluster: Cluster) -> None:
    async with cluster.of("a", "b") as (a, b), person(a, "ada") as ada, person(b, "bob") as bob:
        room = await group(ada, bob)
        for number, (one, other) in enumerate([(ada, bob), (bob, ada)] * 5):
            text = f"message {number}"
            await one.client.call("submit", {"conversation": room, "kind": "text", "body": {"text": text}})
            push = await other.client.next(Push, lambda it, text=text: (it.data.get("body") or {}).get("text") == text)
            assert push.event == "message"
