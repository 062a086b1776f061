"""The generated documents beside the real server: what it answers is what they say."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import jsonschema
import pytest
from chat_server.server import Server


class Checked:
    """Calls commands over HTTP and holds every answer against the OpenAPI document."""

    def __init__(self, client: httpx2.AsyncClient, document: dict[str, Any]) -> None:
        self.client, self.document = client, document
        self.answered: set[str] = set()

    async def call(self, command: str, params: Any = None, *, token: str | None = None, status: int = 200) -> Any:
        headers = {"authorization": f"Bearer {token}"} if token else {}
        answer = await self.client.post(f"/api/{command}", json=params or {}, headers=headers)
        assert answer.status_code == status, (command, answer.text)
        operation = self.document["paths"][f"/api/{command}"]["post"]
        schema = operation["responses"][str(status)]["content"]["application/json"]["schema"]
        jsonschema.validate(answer.json(), {**schema, "components": self.document["components"]})
        if status == 200:
            self.answered.add(command)
            sent = operation["requestBody"]["content"]["application/json"]["schema"]
            jsonschema.validate(params or {}, {**sent, "components": self.document["components"]})
        return answer.json()


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with Server(
        settings={"server": {"data": str(tmp_path)}, "auth": {"dev": True}, "groups": {"strangers": "allow"}},
        environ={},
    ) as server:
        yield server


@pytest.fixture
async def checked(server: Server) -> AsyncIterator[Checked]:
    transport = httpx2.ASGITransport(server.app, raise_app_exceptions=False)
    async with httpx2.AsyncClient(transport=transport, base_url="http://chat.example") as client:
        yield Checked(client, (await client.get("/api/openapi.json")).json())


async def test_what_it_answers_is_what_the_document_says(checked: Checked) -> None:
    call = checked.call
    anna = await call("auth.dev", {"name": "anna", "device": "phone"})
    bert = await call("auth.dev", {"name": "bert"})
    token, other = anna["token"], bert["token"]
    await call("auth.methods")
    await call("user.me", token=token)
    await call("user.get", {"users": [bert["user"]["user"]]}, token=token)
    await call("auth.devices", token=token)
    await call("contact.request", {"user": bert["user"]["user"], "text": "hello"}, token=token)
    await call("contact.list", token=other)
    room = await call("group.create", {"name": "Room", "members": [bert["user"]["user"]]}, token=token)
    conversation = room["conversation"]
    say = {"conversation": conversation, "kind": "text", "body": {"text": "hi"}}
    receipt = await call("submit", say, token=token)
    await call("submit", {**say, "reply_to": receipt["seq"]}, token=other)
    at = {"conversation": conversation, "seq": receipt["seq"]}
    await call("message.react", {**at, "emoji": "👍", "on": True}, token=other)
    await call("message.reactions", at, token=token)
    await call("message.edit", {**at, "body": {"text": "hello"}}, token=token)
    await call("read", at, token=other)
    await call("message.readers", at, token=token)
    await call("message.recall", at, token=token)
    await call("history", {"conversation": conversation}, token=other)
    page = await call("inbox.list", token=other)
    await call("sync", {"epoch": page["epoch"], "version": 0}, token=other)
    await call("sync", {"epoch": page["epoch"], "conversation": conversation, "rev": 0}, token=other)
    await call("inbox.set", {"conversation": conversation, "pinned": True}, token=other)
    await call("group.get", {"conversation": conversation}, token=other)
    await call("group.members", {"conversation": conversation}, token=other)
    await call("group.update", {"conversation": conversation, "name": "Hall"}, token=token)
    await call("group.leave", {"conversation": conversation}, token=other)
    await call("direct.open", {"user": bert["user"]["user"]}, token=token)
    await call("submit", {**say, "conversation": "nowhere"}, token=token, status=404)
    await call("submit", say, token=other, status=403)
    await call("submit", {**say, "kind": "system"}, token=token, status=400)
    await call("sync", {"epoch": "another", "version": 0}, token=other, status=409)
    await call("auth.logout", token=other)
    await call("user.me", token=other, status=401)
    assert len(checked.answered) >= 25


async def test_every_command_refuses_guests_and_nonsense_as_documented(checked: Checked, server: Server) -> None:
    token = (await checked.call("auth.dev", {"name": "anna"}))["token"]
    for name, entry in server.pipeline.commands.items():
        if entry.command.callers != "guests":
            assert (await checked.call(name, status=401))["code"] == "not_authenticated"
        answer = await checked.client.post(
            f"/api/{name}", content=b'"nonsense"', headers={"authorization": f"Bearer {token}"}
        )
        wanted = (403, "not_permitted") if entry.command.callers == "admins" else (400, "invalid")
        assert (answer.status_code, answer.json()["code"]) == wanted, name


async def test_every_reference_of_the_real_documents_leads_somewhere(checked: Checked) -> None:
    def walk(value: Any, document: Any) -> int:
        if isinstance(value, list):
            return sum(walk(item, document) for item in value)
        if not isinstance(value, dict):
            return 0
        found = 0
        if isinstance(value.get("$ref"), str):
            target = document
            for part in value["$ref"].removeprefix("#/").split("/"):
                target = target[part]
            found = 1
        return found + sum(walk(item, document) for item in value.values())

    asyncapi = (await checked.client.get("/api/asyncapi.json")).json()
    assert walk(checked.document, checked.document) > 100
    assert walk(asyncapi, asyncapi) > 100
