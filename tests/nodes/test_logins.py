"""N5: logins that begin and end at one node, for sockets at another."""

from __future__ import annotations

import pytest
from chat_common.client import post
from chat_common.protocol.frames import Push
from chat_server.auth.endings import Endings

from tests.nodes.cluster import Cluster, person
from tests.support.raw import raw


async def nothing_is_looked_up(endings: Endings, known: set[str], since: int) -> tuple[set[str], int]:
    """What the store tells once a second is switched off: the calls between nodes alone have to do it."""
    return known, since


async def test_kick_logout_and_ban_at_one_node_end_sockets_at_the_other(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Endings, "look", nothing_is_looked_up)
    async with (
        cluster.of("a", "b") as (a, b),
        person(a, "ada") as ada,
        person(b, "ada", "phone") as phone,
        person(b, "ada", "tablet") as tablet,
        person(b, "bob") as bob,
    ):
        await ada.client.call("auth.kick", {"device": "phone"})
        assert await phone.client.closed() == 4409
        await post(a.url, "auth.logout", {}, token=tablet.token)
        assert await tablet.client.closed() == 4401
        await a.server.rooms.auth.ban(bob.user, reason="a test")
        assert await bob.client.closed() == 4403


async def test_a_picture_of_one_node_is_scanned_at_the_other(cluster: Cluster) -> None:
    async with cluster.of("a", "b") as (a, b), person(b, "ada") as ada, raw(a.url) as screen:
        await screen.hello(None, "screen")
        begun = await screen.call("auth.begin", {"provider": "qr", "device": "screen"})
        code = begun["url"].rstrip("/").rsplit("/", 1)[-1].partition("?")[0]
        logins = b.server.rooms.auth.logins
        assert await logins.waiting(code) is not None
        await logins.scanned(code)
        scanned = await screen.next(Push)
        assert (scanned.event, scanned.data["state"]) == ("login", "scanned")
        assert await logins.succeed_as(code, ada.user)
        done = await screen.next(Push)
        assert done.data["state"] == "succeeded"
        async with raw(b.url) as back:
            welcome = await back.hello(done.data["token"], "screen")
            assert welcome.user is not None


async def test_a_password_changed_at_one_node_ends_the_other_logins_at_two_others(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Endings, "look", nothing_is_looked_up)
    async with (
        cluster.of("a", "b", "c") as (a, b, c),
        person(a, "ada") as ada,
        person(b, "ada", "phone") as phone,
        person(c, "ada", "tablet") as tablet,
        person(c, "bob") as bob,
    ):
        await post(a.url, "auth.password.set", {"password": "good enough"}, token=ada.token)
        changed = {"password": "even better", "old": "good enough"}
        await post(a.url, "auth.password.set", changed, token=ada.token)
        assert await phone.client.closed() == 4401
        assert await tablet.client.closed() == 4401
        assert await ada.client.call("user.me")
        assert await bob.client.call("user.me")
