"""What the other sockets are told: of devices, of profiles, of what was hidden, of stamps without their change."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import msgspec
import pytest
from attrs import define, field
from chat_common.events import PUSHED
from chat_common.protocol.frames import Bye, ClientNote, Error, Note, Push
from chat_common.records import Caller
from chat_server.auth.logins import end
from chat_server.server import Server
from chat_server.services import Credentials
from chat_server.store.account_schema import login

from tests.support.raw import RawClient, raw
from tests.support.serving import in_process


@define
class Site:
    server: Server
    url: str
    stack: AsyncExitStack
    tokens: dict[str, str] = field(factory=dict)
    users: dict[str, str] = field(factory=dict)

    async def log_in(self, name: str, device: str = "desk") -> RawClient:
        """A socket of this device, welcomed; a login of its own."""
        params = {"name": name, "device": {"id": device, "platform": "test"}}
        made = await self.server.pipeline.call(Caller(None, "r"), "auth.dev", params)
        self.tokens[f"{name}/{device}"], self.users[name] = made.token, made.user.user
        client = await self.stack.enter_async_context(raw(self.url.replace("http", "ws") + "/ws"))
        await client.hello(made.token, device)
        return client


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with in_process(tmp_path) as (server, url), AsyncExitStack() as stack:
        yield Site(server, url, stack)


async def told(client: RawClient, event: str) -> Any:
    """The next push of this event, read as the AsyncAPI document describes it."""
    data = (await client.next(Push, lambda frame: frame.event == event)).data
    msgspec.convert(data, PUSHED[event], strict=True)
    return data


async def quiet(client: RawClient, event: str) -> bool:
    """Whether no push of this event has come by the time a later call is answered."""
    await client.call("user.me")
    return not any(isinstance(frame, Push) and frame.event == event for frame in client.frames)


async def test_devices_hear_of_new_ones_and_of_ended_ones(site: Site) -> None:
    desk = await site.log_in("ada")
    eve = await site.log_in("eve")
    phone = await site.log_in("ada", "phone")
    added = await told(desk, "device")
    assert (added["device"], added["platform"], added["state"]) == ("phone", "test", "added")
    await phone.call("auth.kick", {"device": "desk"})
    assert await desk.closed() == 4409
    ended = await told(phone, "device")
    assert (ended["device"], ended["state"]) == ("desk", "ended")
    await site.log_in("ada")  # A device that is known, and all the same a login that its owner may not know of.
    assert (await told(phone, "device"))["state"] == "added"
    assert await quiet(phone, "device")
    tablet = await site.log_in("ada", "tablet")
    assert (await told(phone, "device"))["device"] == "tablet"
    await tablet.call("auth.logout")
    assert (await told(phone, "device"))["state"] == "ended"
    assert await quiet(eve, "device")


async def test_to_end_all_others_ends_none_of_the_own_login(site: Site) -> None:
    desk, phone = await site.log_in("ada"), await site.log_in("ada", "phone")
    caller = Caller(site.users["ada"], "k", "desk", token=await family(site, "ada/desk"), origin="http")
    assert (await site.server.pipeline.call(caller, "auth.kick", {"all": True})).kicked == ["phone"]
    assert await phone.closed() == 4409
    assert (await told(desk, "device"))["device"] == "phone"


async def family(site: Site, login: str) -> str:
    return (await site.server.rooms.auth.authenticate(Credentials(site.tokens[login]))).token


async def test_a_login_that_was_ended_elsewhere_ends_with_its_renewal(site: Site) -> None:
    """Another process has ended it in the database, and nobody told this one."""
    desk = await site.log_in("ada")
    mine = await family(site, "ada/desk")
    now = site.server.rooms.clock.wall_ms()
    await site.server.rooms.database.change(lambda connection: end(connection, login.c.login == mine, "logout", now))
    gateway = site.server.gateway
    (session,) = gateway.sessions.index
    session.token_due = now
    gateway.token_watch.due(session)
    assert (await desk.next(Bye)).code == 4401
    assert await desk.closed() == 4401


async def test_a_new_name_is_pushed_to_all_who_see_it(site: Site) -> None:
    ada, bob, cem, dan = [await site.log_in(name) for name in ("ada", "bob", "cem", "dan")]
    await ada.call("contact.request", {"user": site.users["bob"]})
    await ada.call("group.create", {"name": "g", "members": [site.users["cem"]]})
    await ada.call("user.rename", {"name": "Ada Lovelace"})
    for client in (bob, cem):
        seen = {"user": site.users["ada"], "name": "Ada Lovelace", "handle": "ada"}
        assert (await told(client, "user"))["user"] == seen
    assert (await told(ada, "user"))["version"] > 0
    assert await quiet(dan, "user")


async def test_what_was_hidden_and_is_not_any_more_is_told_to_all_devices(site: Site) -> None:
    desk, phone, bob = await site.log_in("ada"), await site.log_in("ada", "phone"), await site.log_in("bob")
    room = (await bob.call("group.create", {"name": "g", "members": [site.users["ada"]]}))["conversation"]
    await desk.call("inbox.set", {"conversation": room, "hidden": True})
    for client in (desk, phone):
        while not (await told(client, "inbox")).get("hidden"):
            pass
    await bob.call("submit", {"conversation": room, "kind": "text", "body": {"text": "there?"}})
    for client in (desk, phone):
        while (row := await told(client, "inbox")).get("hidden"):
            pass
        assert (row["conversation"], row["head"]["seq"]) == (room, 1)
    await bob.call("submit", {"conversation": room, "kind": "text", "body": {"text": "there?"}})
    for client in (desk, phone):
        assert await client.messages(2) == [1, 2]
        assert await quiet(client, "inbox"), "told once"


async def test_a_newcomer_misses_no_stamp_of_what_was_said_before(site: Site) -> None:
    ada, bob = await site.log_in("ada"), await site.log_in("bob")
    room = (await ada.call("group.create", {"name": "g", "members": []}))["conversation"]
    text = {"conversation": room, "kind": "text"}
    await ada.call("submit", {**text, "body": {"text": "before bob"}})
    await ada.call("group.invite", {"conversation": room, "users": [site.users["bob"]]})
    await ada.call("message.edit", {"conversation": room, "seq": 1, "body": {"text": "still before bob"}})
    receipt = await ada.call("submit", {**text, "body": {"text": "hello bob"}})
    seen: list[tuple[str, int]] = []
    while not seen or seen[-1][1] < receipt["rev"]:
        push = await bob.next(Push, lambda frame: frame.data.get("conversation") == room and "rev" in frame.data)
        seen.append((push.event, push.data["rev"]))
        assert "before" not in str(push.data)
    revs = [rev for _, rev in seen]
    assert revs == list(range(revs[0], receipt["rev"] + 1)), "each stamp, one by one"
    assert ("members", receipt["rev"] - 1) in seen


async def test_a_typing_note_to_where_one_is_not_is_answered_by_nothing(site: Site) -> None:
    ada, bob = await site.log_in("ada"), await site.log_in("bob")
    room = (await ada.call("group.create", {"name": "g", "members": []}))["conversation"]
    for conversation in (room, "there-is-none"):
        data = msgspec.Raw(msgspec.json.encode({"conversation": conversation}))
        await bob.send(ClientNote("typing", data))
        await bob.call("user.me")
    assert not any(isinstance(frame, Error | Note) for frame in [*bob.frames, *ada.frames])


async def test_a_link_that_was_ended_is_absent(site: Site) -> None:
    ada = await site.log_in("ada")
    room = (await ada.call("group.create", {"name": "g", "members": []}))["conversation"]
    assert (await ada.call("group.link", {"conversation": room, "on": True}))["link"]
    assert await ada.call("group.link", {"conversation": room, "on": False}) == {}


@pytest.mark.parametrize(
    ("command", "params", "message"),
    [
        ("group.create", {"name": "x" * 65, "members": []}, "name: at most 64 characters"),
        ("group.create", {"name": "", "members": []}, "name: may not be empty"),
        ("group.create", {"name": "  ", "members": []}, "name: is empty or blank"),
        ("group.create", {"members": []}, "name: is missing"),
        ("user.get", {"users": ["u"] * 51}, "users: at most 50 entries"),
        ("inbox.list", {"limit": 0}, "limit: at least 1"),
        ("inbox.list", {"limit": 101}, "limit: at most 100"),
        ("inbox.list", {"limit": "7"}, "limit: expected a whole number, got text"),
    ],
)
async def test_bad_input_is_told_in_plain_words(site: Site, command: str, params: dict[str, Any], message: str) -> None:
    ada = await site.log_in("ada")
    answer = await ada.call(command, params)
    assert isinstance(answer, Error)
    assert answer.message.startswith(message)
    assert answer.field == message.partition(":")[0]
