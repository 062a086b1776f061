"""Tickets: how many an address may begin, what is remembered of them, and what a policy makes of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from chat_common.errors import RateLimited, Unavailable
from chat_common.ports.identity import Link, Waiting
from chat_common.records import Caller
from chat_server.auth.tickets import BEGUN

from tests.chat_server.auth.desks import Desk
from tests.chat_server.auth.screens import press, site
from tests.chat_server.house import Store, opened


class Platform:
    """A platform that may be down."""

    name, title = "platform", "A platform"
    down = False

    async def begin(self, waiting: Waiting) -> Link:
        if self.down:
            raise Unavailable("The platform does not answer.")
        return Link(f"https://platform.example/{waiting.code}", lifetime=5_000.0)


async def begin(here: Desk, address: str | None) -> str:
    caller = Caller(None, "r", address=address)
    return str((await here.house.pipeline.call(caller, "auth.begin", {"provider": "platform"})).ticket)


async def test_an_address_has_its_share_of_tickets_and_this_machine_no_limit(store: Store) -> None:
    async with opened(store, identity_providers={"platform": Platform()}) as house:
        here = Desk(house)
        for number in range(BEGUN):
            await begin(here, f"2001:db8::{number:x}")  # one household
        with pytest.raises(RateLimited) as refused:
            await begin(here, "2001:db8::ffff")
        assert refused.value.retry_after
        await begin(here, "192.0.2.7")
        for _ in range(BEGUN + 1):
            await begin(here, None)


async def test_no_ticket_is_left_where_the_platform_is_down(store: Store) -> None:
    platform = Platform()
    async with opened(store, identity_providers={"platform": platform}) as house:
        here = Desk(house)
        cache = house.rooms.auth.logins._cache
        platform.down = True
        with pytest.raises(Unavailable):
            await begin(here, None)
        assert not [key for key in cache._values if key.startswith("login:")]  # type: ignore[attr-defined]
        platform.down = False
        answer = await house.pipeline.call(Caller(None, "r"), "auth.begin", {"provider": "platform"})
        assert answer.expires_in == 900, "no login waits for ever"


async def test_a_ticket_that_the_policy_refuses_says_whom_to_replace(tmp_path: Path) -> None:
    one = {"auth": {"sessions": "one", "on_conflict": "refuse"}}
    async with site(tmp_path, settings=one) as here:
        phone = here.browser()
        begun = await here.begin(device="tv")
        await press(phone, begun["url"], "create", name="Ada")
        assert (await here.state(begun["ticket"]))["state"] == "succeeded"
        begun = await here.begin(device="desk")
        refused = await press(phone, begun["url"], "confirm")
        assert refused.status_code == 409
        assert "logged in on other devices" in refused.text
        assert (await here.state(begun["ticket"]))["state"] == "refused"
        begun = await here.begin(device="desk", replace="tv")
        await press(phone, begun["url"], "confirm")
        state = await here.state(begun["ticket"])
        devices = (await here.call("auth.devices", state["token"])).json()["devices"]
        assert [each["device"] for each in devices] == ["desk"]
