"""The webhook after: durable, in order per conversation, signed anew at each attempt, the same id at all of them."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest
from chat_common.clock import SystemClock
from chat_common.ports.broker import NotHandled
from chat_server.moderation.sender import DeliveryFailed, Sender
from chat_server.moderation.settings import WebhookSettings
from chat_server.moderation.told import Teller
from chat_server.server import Server
from chat_server.signing import signer
from chat_server.store.topics import Stored
from starlette.responses import Response

from tests.chat_server.house import House
from tests.chat_server.moderation.receiver import SECRET, Receiver, receiving, status
from tests.support.waiting import until


def teller(house: House, receiver: Receiver) -> Teller:
    settings = WebhookSettings(after=receiver.url, secret=SECRET)
    sender = Sender("after", receiver.url, signer(settings), 60.0, SystemClock())
    return Teller(sender, 10, house.rooms.executor)


async def test_it_is_told_of_the_newest_state_of_what_changed(house: House) -> None:
    async with receiving() as receiver:
        told = teller(house, receiver)
        ada, bert = await house.users("ada", "bert")
        room = await house.group(ada, bert)
        house.outbox.take()
        await house.say(ada, room, "one")
        await house.say(ada, room, "two", reply_to=1)
        await told.stored(house.outbox.take("stored"))
        first, second = receiver.taken
        assert (first["type"], first["conversation"]) == ("messages", room)
        assert [one["body"] for one in first["messages"]] == [{"text": "one"}]
        assert second["messages"][0]["reply_to"]["text"] == "one"
        assert (second["first"], second["last"]) == (first["last"] + 1, first["last"] + 1)
        await house.call(ada, "message.edit", conversation=room, seq=1, body={"text": "three"})
        await house.call(ada, "message.recall", conversation=room, seq=1)
        await house.call(bert, "message.react", conversation=room, seq=2, emoji="👍", on=True)
        records = house.outbox.take("stored")
        await told.stored(records)
        assert [[one["seq"] for one in body["messages"]] for body in receiver.taken[2:]] == [[1], [2]]
        assert "recalled" in receiver.taken[2]["messages"][0], "the edit before it is covered by the newest state"
        assert receiver.taken[3]["messages"][0]["reactions"] == [{"emoji": "👍", "count": 1, "users": [bert]}]
        before = len(receiver.attempts)
        await told.stored(records)  # a broker may bring them again
        assert len(receiver.attempts) == before + 2
        assert len(receiver.taken) == 4, "the same ids, which the receiver knows"
        await house.call(ada, "group.kick", conversation=room, users=[bert])
        house.outbox.take("changed")
        await told._sender.close()


async def test_one_conversation_that_fails_holds_up_no_other(house: House) -> None:
    async with receiving() as receiver:
        told = teller(house, receiver)
        ada = await house.user("ada")
        bad, good = await house.group(ada), await house.group(ada)
        house.outbox.take()
        for text in ("one", "two"):
            await house.say(ada, bad, text)
            await house.say(ada, good, text)
        records = house.outbox.take("stored")

        async def answer(body: dict[str, Any]) -> Response:
            return Response(status_code=500 if body["conversation"] == bad else 204)

        receiver.answer = answer
        with pytest.raises(NotHandled) as left:
            await told.stored(records)
        assert [record.key for record in left.value.failed] == [bad]
        assert [record.key for record in left.value.later] == [bad]
        assert left.value.failed[0].payload < left.value.later[0].payload
        assert isinstance(left.value.errors[left.value.failed[0].id], DeliveryFailed)
        assert [body["conversation"] for body in receiver.taken] == [good, good]
        receiver.answer = None
        await told.stored([*left.value.failed, *left.value.later])
        texts = [body["messages"][0]["body"]["text"] for body in receiver.taken if body["conversation"] == bad]
        assert texts == ["one", "two"]
        await told._sender.close()


async def test_a_large_commit_is_told_in_pages_that_cover_all_of_it(house: House) -> None:
    async with receiving() as receiver:
        told = teller(house, receiver)
        ada = await house.user("ada")
        room = await house.group(ada)
        house.outbox.take()
        for _ in range(25):
            await house.say(ada, room, "x" * 8_192)
        records = house.outbox.take("stored")

        ranges = [msgspec.json.decode(record.payload, type=Stored) for record in records]
        await told._tell(Stored(room, ranges[0].first, ranges[-1].last))
        assert len(receiver.taken) > 1
        assert [one["seq"] for body in receiver.taken for one in body["messages"]] == list(range(1, 26))
        for before, after in itertools.pairwise(receiver.taken):
            assert after["first"] == before["last"] + 1
        assert (receiver.taken[0]["first"], receiver.taken[-1]["last"]) == (ranges[0].first, ranges[-1].last)
        await told._sender.close()


async def test_nothing_is_lost_over_failures_and_a_restart_and_a_replay_is_seen(tmp_path: Path) -> None:
    receiver = Receiver(answer=status(503))
    async with receiving(receiver):
        settings = {
            "server": {"data": str(tmp_path)},
            "webhooks": {"after": receiver.url, "secret": SECRET},
            "broker": {"memory": {"retry_first": 0.01, "retry_cap": 0.05}},
        }

        def texts() -> list[str]:
            return [one["body"]["text"] for body in receiver.taken for one in body["messages"]]

        async with Server(settings=settings, environ={}) as server:
            ada = (await server.ensure_user("ada")).user
            room = (await server.call("group.create", {"name": "room", "members": []}, user=ada)).conversation
            for text in ("one", "two"):
                params = {"conversation": room, "kind": "text", "body": {"text": text}}
                await server.call("submit", params, user=ada)
            await until(lambda: len(receiver.attempts) >= 3)
            assert receiver.taken == []
        tried = {name for name, _ in receiver.attempts}
        assert len(tried) == 1, "the second waits behind the first; each attempt has the same id"
        async with Server(settings=settings, environ={}) as server:
            receiver.answer = None
            await until(lambda: len(texts()) == 2)
        assert texts() == ["one", "two"]
        assert receiver.ids >= tried
        assert receiver.forged == 0

        content, headers = receiver.captured[-1]
        sent = {name: value for name, value in headers.items() if name.startswith("webhook-")}
        async with httpx2.AsyncClient(trust_env=False) as thief:
            again = await thief.post(receiver.url, content=content, headers=sent)
            assert again.status_code == 204
            assert len(texts()) == 2, "the receiver knows the id"
            later = {**sent, "webhook-timestamp": str(int(sent["webhook-timestamp"]) + 3600)}
            assert (await thief.post(receiver.url, content=content, headers=later)).status_code == 401
            other = content.replace(b"two", b"six")
            assert (await thief.post(receiver.url, content=other, headers=sent)).status_code == 401
