"""Records and mappings are asked alike, and answered by records."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from chat_common.client import connect
from chat_common.clock import ManualClock
from chat_common.errors import Invalid
from chat_common.settings import SetupError
from chat_common.wire import Inbox, Receipt, SubmitMessage
from chat_server import Server
from chat_server.logic.direct import OpenDirect
from chat_server.testing.faults import Faults, MemoryLine


async def test_a_request_is_a_record_or_a_mapping_and_its_reply_a_record(chat: Server) -> None:
    ann, bob = await chat.ensure_user("ann"), await chat.ensure_user("bob")
    room = (await chat.call(OpenDirect(user=bob.user), user=ann.user)).conversation
    assert (await chat.call("direct.open", OpenDirect(user=bob.user), user=ann.user)).conversation == room
    said = SubmitMessage(conversation=room, kind="text", body={"text": "hi"})
    first = await chat.call(said, user=ann.user)
    assert isinstance(first, Receipt)
    second = await chat.submit({"conversation": room, "kind": "text", "body": {"text": "ho"}}, user=bob.user)
    third = await chat.submit(said, user=ann.user, ref="order 1")
    assert [first.seq, second.seq, third.seq] == [1, 2, 3]
    assert await chat.submit(said, user=ann.user, ref="order 1") == third


async def test_what_is_no_request_is_refused_by_what_would_be(chat: Server) -> None:
    ann = await chat.ensure_user("ann")
    wrong: list[tuple[Any, Any, str]] = [
        (ann, None, "no command takes User"),
        (SubmitMessage(conversation="x", kind="text", body={}), {"kind": "text"}, "holds its parameters itself"),
        ("submit", "hello", "a mapping or a record is needed, not str"),
        ("submit", {"conversation": 7}, "conversation"),
    ]
    for command, params, said in wrong:
        with pytest.raises(Invalid, match=said):
            await chat.call(command, params, user=ann.user)


async def test_a_client_asks_with_records_and_is_answered_by_records(chat: Server) -> None:
    ann, bob = await chat.ensure_user("ann"), await chat.ensure_user("bob")
    faults = Faults(ManualClock())
    token = await chat.issue_token(ann.user)

    async def opener(_url: str) -> MemoryLine:
        return MemoryLine(chat.gateway, faults)

    async with connect("http://chat.test", token, opener=opener) as client:
        room = await client.call("direct.open", OpenDirect(user=bob.user), reply=Inbox)
        assert isinstance(room, Inbox)
        said = SubmitMessage(conversation=room.conversation, kind="text", body={"text": "hi"})
        receipt = await client.call(said, ref="order 1")
        assert isinstance(receipt, Receipt)
        assert await client.call(said, ref="order 1") == receipt
        assert (await client.call("user.me"))["name"] == "ann"
        with pytest.raises(Invalid, match="not User"):
            await client.call(ann)  # type: ignore[call-overload]


async def test_identify_is_refused_where_every_page_could_use_it(tmp_path: Path) -> None:
    settings = {"server": {"data": str(tmp_path), "allowed_origins": ["*"]}}
    with pytest.raises(SetupError, match="name the origins"):
        await Server(settings=settings, identify=lambda request: "42").__aenter__()
