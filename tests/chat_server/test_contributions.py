"""One chain for whatever a user says to others: what may not be sent stands in no edit, name, reaction or request."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from attrs import evolve
from chat_common.errors import NotPermitted
from chat_common.records import Caller, Interceptor
from chat_common.wire import SubmitMessage

from tests.chat_server.house import House, Store, opened

SEEN: list[tuple[str, str, str]] = []


async def politely(caller: Caller, message: SubmitMessage) -> SubmitMessage:
    """Refuses what is rude, and softens the rest; it waits, as a web hook does."""
    SEEN.append((message.target, message.kind, message.conversation))
    text = message.body["text"]
    if "rude" in text:
        raise NotPermitted("This is rude.")
    return evolve(message, body={"text": text.replace("darn", "d***")})


@pytest.fixture
async def polite(store: Store) -> AsyncIterator[House]:
    SEEN.clear()
    async with opened(store, interceptors=[Interceptor("politely", "submit", politely)]) as house:
        yield house


WAYS: list[tuple[str, dict[str, Any], str]] = [
    ("submit", {"conversation": "ROOM", "kind": "text", "body": {"text": "%"}}, "submit"),
    ("message.edit", {"conversation": "ROOM", "seq": 1, "body": {"text": "%"}}, "message.edit"),
    ("user.rename", {"name": "%"}, "user.name"),
    ("group.create", {"name": "%", "members": []}, "group.name"),
    ("group.update", {"conversation": "ROOM", "name": "%"}, "group.name"),
    ("group.update", {"conversation": "ROOM", "announcement": "%"}, "group.announcement"),
    ("contact.request", {"user": "BOB", "text": "%"}, "contact.text"),
]


@pytest.mark.parametrize(("command", "params", "target"), WAYS, ids=[f"{way[0]} {way[2]}" for way in WAYS])
async def test_every_text_passes_the_same_chain(
    polite: House, command: str, params: dict[str, Any], target: str
) -> None:
    ada, bob = await polite.users("ada", "bob")
    room = await polite.group(ada, bob)
    await polite.say(ada, room, "hi")
    SEEN.clear()

    def filled(value: Any, text: str) -> Any:
        if isinstance(value, dict):
            return {key: filled(each, text) for key, each in value.items()}
        return {"ROOM": room, "BOB": bob, "%": text}.get(value, value) if isinstance(value, str) else value

    with pytest.raises(NotPermitted, match="rude"):
        await polite.call(ada, command, **filled(params, "a rude word"))
    await polite.call(ada, command, ref="r", **filled(params, "darn it"))
    assert [(target, "text", room if "conversation" in params else "")] * 2 == SEEN
    everything = [
        await polite.call(ada, "history", conversation=room),
        await polite.call(ada, "inbox.list"),
        await polite.call(ada, "group.get", conversation=room),
        await polite.call(ada, "contact.list"),
        await polite.call(ada, "user.me"),
    ]
    assert "d*** it" in str(everything)
    assert "rude" not in str(everything)


async def test_a_reaction_passes_it_too(store: Store) -> None:
    def no_thumbs(caller: Caller, message: SubmitMessage) -> SubmitMessage:
        if message.target == "message.react" and message.body["text"] == "👎":
            raise NotPermitted("No thumbs down here.")
        return message

    async with opened(store, interceptors=[Interceptor("no_thumbs", "submit", no_thumbs)]) as house:
        ada = await house.user("ada")
        room = await house.group(ada)
        await house.say(ada, room)
        with pytest.raises(NotPermitted):
            await house.call(ada, "message.react", conversation=room, seq=1, emoji="👎", on=True)
        await house.call(ada, "message.react", conversation=room, seq=1, emoji="👍", on=True)


async def test_no_client_says_what_its_text_is_for(polite: House) -> None:
    ada = await polite.user("ada")
    room = await polite.group(ada)
    await polite.say(ada, room, "hi", target="message.edit")
    assert SEEN[-1][0] == "submit"
