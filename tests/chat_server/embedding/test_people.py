"""The people of the application: who there is, and what may not be an id, a name or a picture."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from chat_common.errors import Invalid, NotFound
from chat_server import Server
from msgspec import UNSET

WAYS: dict[str, Callable[[Server, str], Awaitable[Any]]] = {
    "a reading command": lambda chat, who: chat.call("user.me", user=who),
    "submit": lambda chat, who: chat.call(
        "submit", {"conversation": "room", "kind": "text", "body": {"text": "hi"}}, user=who
    ),
    "a group": lambda chat, who: chat.call("group.create", {"name": "ours"}, user=who),
    "an admin's command": lambda chat, who: chat.call("admin.user.list", user=who),
    "a token": lambda chat, who: chat.issue_token(who),
}


async def test_whoever_acts_as_an_unknown_user_is_told_the_same(chat: Server) -> None:
    for act in WAYS.values():
        with pytest.raises(NotFound) as refused:
            await act(chat, "42")
        assert str(refused.value) == 'There is no user "42" here; ensure_user makes one.'
        assert refused.value.field == "user"


async def test_the_application_asks_for_its_person_and_gets_the_same_user_again(chat: Server) -> None:
    ann = await chat.ensure_user("42", "Ann", avatar="/media/42.png")
    assert (ann.name, ann.avatar) == ("Ann", "/media/42.png")
    assert (await chat.call("user.me", user=ann.user)).name == "Ann"
    assert await chat.ensure_user("42", "Anna", avatar="/media/43.png") == ann
    nameless = await chat.ensure_user("bob@example.com")
    assert (nameless.name, nameless.avatar) == ("bob@example.com", UNSET)


async def test_a_profile_that_follows_the_application_changes_for_others_too(chat: Server) -> None:
    ann, bob = await chat.ensure_user("1", "Ann"), await chat.ensure_user("2", "Bob")
    await chat.call("direct.open", {"user": bob.user}, user=ann.user)
    ann = await chat.ensure_user("1", "Ann B.", avatar="https://cdn.example/1.png", profile="always")
    assert (ann.name, ann.avatar) == ("Ann B.", "https://cdn.example/1.png")
    assert (await chat.call("user.get", {"users": [ann.user]}, user=bob.user)).users == [ann]
    assert await chat.ensure_user("1", profile="always") == ann


WRONG: list[tuple[dict[str, Any], str, int | None]] = [
    ({"subject": ""}, "subject", 255),
    ({"subject": " \t"}, "subject", 255),
    ({"subject": "x" * 500}, "subject", 255),
    ({"subject": "4\n2"}, "subject", 255),
    ({"subject": " 42"}, "subject", 255),
    ({"subject": "4\u202e2"}, "subject", 255),
    ({"subject": 42}, "subject", None),
    ({"name": ""}, "name", None),
    ({"name": "   "}, "name", None),
    ({"name": "x" * 500}, "name", 64),
    ({"name": "Ann\x07"}, "name", None),
    ({"avatar": ""}, "avatar", 1024),
    ({"avatar": "/" + "x" * 1024}, "avatar", 1024),
    ({"avatar": "javascript:alert(1)"}, "avatar", None),
    ({"avatar": "//cdn.example/1.png\n"}, "avatar", 1024),
    ({"profile": "sometimes"}, "profile", None),
    ({"provider": "My App"}, "provider", 32),
]


async def test_what_cannot_be_a_person_is_refused_by_field_and_limit(chat: Server) -> None:
    for given, field, limit in WRONG:
        with pytest.raises(Invalid) as refused:
            await chat.ensure_user(**{"subject": "42", **given})
        assert (refused.value.field, refused.value.limit) == (field, limit), given
        assert field in str(refused.value)
    assert (await chat.ensure_user("42", "Ann")).name == "Ann"  # none of them has made a user
