"""Logins over real sockets: devices, bans, and how many of a user's devices may be in at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from chat_common.protocol.frames import Bye, Device, Hello, Welcome

from tests.chat_server.auth.screens import Site, site
from tests.support.raw import RawClient, raw


async def token(here: Site, device: str) -> str:
    return str((await here.call("auth.dev", name="ada", device=device)).json()["token"])


async def enter(client: RawClient, token: str, device: str, platform: str) -> Welcome:
    await client.send(Hello(Device(device, platform), token))
    return await client.next(Welcome)


@pytest.mark.parametrize(
    ("policy", "stays"),
    [("per_device", {"phone", "desk", "lap"}), ("one_per_platform", {"phone", "lap"}), ("one", {"lap"})],
)
async def test_a_new_device_replaces_others_as_the_policy_says(tmp_path: Path, policy: str, stays: set[str]) -> None:
    settings: dict[str, dict[str, Any]] = {"auth": {"sessions": policy}}
    platforms = {"phone": "android", "desk": "web", "lap": "web"}
    async with (
        site(tmp_path, settings=settings) as here,
        raw(here.url) as phone,
        raw(here.url) as desk,
        raw(here.url) as lap,
    ):
        clients = {"phone": phone, "desk": desk, "lap": lap}
        tokens = {}
        for name, client in clients.items():
            tokens[name] = await token(here, name)
            await enter(client, tokens[name], name, platforms[name])
        for name, client in clients.items():
            if name in stays:
                assert (await client.call("user.me"))["name"] == "ada"
            else:
                bye = await client.next(Bye)
                assert (bye.code, bye.reconnect) == (4409, "never")
                assert await client.closed() == 4409
                assert (await here.call("user.me", tokens[name])).status_code == 401


async def test_a_login_is_one_devices(tmp_path: Path) -> None:
    async with site(tmp_path) as here, raw(here.url) as mine, raw(here.url) as other:
        made = await token(here, "mine")
        await enter(mine, made, "mine", "web")
        await other.send(Hello(Device("other", "web"), made))
        assert await other.closed() == 4401
        assert (await mine.call("user.me"))["name"] == "ada"


async def test_a_device_that_was_ended_hears_so_when_it_comes_back(tmp_path: Path) -> None:
    async with site(tmp_path) as here, raw(here.url) as client:
        made, other = await token(here, "mine"), await token(here, "other")
        assert (await here.call("auth.kick", other, device="mine")).json()["kicked"] == ["mine"]
        await client.send(Hello(Device("mine", "web"), made))
        bye = await client.next(Bye)
        assert (bye.code, bye.reconnect, "another device" in bye.reason) == (4409, "never", True)


async def test_a_ban_closes_and_keeps_out_until_it_is_over(tmp_path: Path) -> None:
    async with site(tmp_path) as here, raw(here.url) as client, raw(here.url) as again, raw(here.url) as later:
        made = await token(here, "d")
        welcome = await enter(client, made, "d", "web")
        await here.server.rooms.auth.ban(welcome.user.user)  # type: ignore[union-attr]
        assert await client.closed() == 4403
        await again.send(Hello(Device("d", "web"), made))
        assert await again.closed() == 4403
        assert (await here.call("user.me", made)).status_code == 403
        await here.server.rooms.auth.ban(welcome.user.user, until=here.server.clock.wall_ms() - 1)  # type: ignore[union-attr]
        assert (await enter(later, await token(here, "d"), "d", "web")).user is not None


async def test_logout_ends_the_login_and_its_renewals_alone(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        first, other = await token(here, "a"), await token(here, "b")
        renewed = (await here.call("auth.refresh", first)).json()["token"]
        assert (await here.call("auth.logout", renewed)).status_code == 200
        assert (await here.call("user.me", first)).status_code == 401
        assert (await here.call("user.me", renewed)).status_code == 401
        assert (await here.call("user.me", other)).status_code == 200


async def test_what_is_not_configured_is_not_there(tmp_path: Path) -> None:
    only = {"ports": {"identity_provider": ["qr"]}, "auth": {"dev": False}}
    async with site(tmp_path, settings=only) as here:
        methods = (await here.call("auth.methods")).json()["methods"]
        assert [method["name"] for method in methods] == ["qr"]
        assert (await here.call("auth.password", name="Ada", password="correct horse")).json()["code"] == "invalid"
        assert 'type="password"' not in (await here.browser().get((await here.begin())["url"])).text
