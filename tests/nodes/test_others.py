"""N6: presence, typing, read marks and unread numbers of those who sit at another node, as on one."""

from __future__ import annotations

from chat_common.client import post
from chat_common.protocol.frames import ClientNote, Note, Push

from tests.nodes.cluster import Cluster, group, person


async def test_presence_typing_and_marks_cross_nodes(cluster: Cluster) -> None:
    async with cluster.of("a", "b") as (a, b), person(a, "ada") as ada:
        async with person(b, "bob") as bob:
            room = await group(ada, bob)
            await bob.client.next(Push, lambda it: it.data.get("conversation") == room)
            watched = await ada.client.call("presence.watch", {"users": [bob.user]})
            assert watched["online"] == [bob.user]
            await bob.client.send(ClientNote("typing", {"conversation": room}))
            note = await ada.client.next(Note, lambda it: it.event == "typing")
            assert note.data == {"conversation": room, "user": bob.user}
            receipt = await ada.client.call("submit", {"conversation": room, "kind": "text", "body": {"text": "hi"}})
            await bob.client.next(Push, lambda it: it.data.get("seq") == receipt["seq"])
            (row,) = (await post(a.url, "inbox.list", {}, token=bob.token))["inbox"]
            assert row["unread"] >= 1
            await bob.client.call("read", {"conversation": room, "seq": receipt["seq"]})
            (row,) = (await post(a.url, "inbox.list", {}, token=bob.token))["inbox"]
            assert row["unread"] == 0
        note = await ada.client.next(Note, lambda it: it.event == "presence")
        assert note.data == {"user": bob.user, "online": False}, "although his session waits to be resumed"
        async with person(b, "bob"):
            note = await ada.client.next(Note, lambda it: it.event == "presence")
            assert note.data == {"user": bob.user, "online": True}


async def test_presence_ends_at_once_across_nodes_when_people_part(cluster: Cluster) -> None:
    async with cluster.of("a", "b") as (a, b), person(a, "ada") as ada, person(b, "bob") as bob:
        room = await group(ada, bob)
        await bob.client.next(Push, lambda it: it.data.get("conversation") == room)
        assert (await ada.client.call("presence.watch", {"users": [bob.user]}))["online"] == [bob.user]
        await bob.client.call("contact.block", {"user": ada.user, "on": True})
        note = await ada.client.next(Note, lambda it: it.event == "presence")
        assert note.data == {"user": bob.user, "online": False}, "the block is a push to bob's node alone"
