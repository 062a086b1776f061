from __future__ import annotations

import json
from typing import Any

import httpx2
import jsonschema
import pytest
from chat_common.errors import error_types
from chat_common.events import NOTED, PUSHED
from chat_common.protocol.frames import Welcome
from chat_common.wire import Limits


def references(value: Any) -> set[str]:
    if isinstance(value, dict):
        found = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
        return found.union(*(references(item) for item in value.values()))
    if isinstance(value, list):
        return set().union(*(references(item) for item in value))
    return set()


def resolve(document: Any, reference: str) -> Any:
    value = document
    for part in reference.removeprefix("#/").split("/"):
        value = value[part]
    return value


@pytest.mark.parametrize("name", ["openapi", "asyncapi"])
async def test_every_reference_leads_somewhere(guest: httpx2.AsyncClient, name: str) -> None:
    document = (await guest.get(f"/api/{name}.json")).json()
    found = references(document)
    assert found
    for reference in found:
        assert resolve(document, reference)


async def test_openapi_has_every_command(guest: httpx2.AsyncClient, site: Any) -> None:
    document = (await guest.get("/api/openapi.json")).json()
    assert document["openapi"] == "3.1.0"
    assert set(document["paths"]) == {f"/api/{name}" for name in site.pipeline.commands}
    say = document["paths"]["/api/say"]["post"]
    assert say["summary"] == "Say it."
    assert say["security"] == [{"token": []}]
    assert [it["name"] for it in say["parameters"]] == ["Idempotency-Key"]
    assert set(say["responses"]) == {"200", "400", "401", "403", "404", "409", "413", "429", "500", "503"}
    assert "parameters" not in document["paths"]["/api/listen"]["post"]
    assert {} in document["paths"]["/api/auth.methods"]["post"]["security"]
    assert document["components"]["schemas"]["Error"]["properties"]["code"]["enum"] == sorted(error_types())


async def test_the_document_agrees_with_the_server(client: httpx2.AsyncClient) -> None:
    document = (await client.get("/api/openapi.json")).json()

    def check(path: str, status: int, value: Any) -> None:
        responses = document["paths"][path]["post"]["responses"]
        schema = responses[str(status)]["content"]["application/json"]["schema"]
        jsonschema.validate(value, {**schema, "components": document["components"]})

    for path in ("/api/say", "/api/listen"):
        for body in ({"text": "hi"}, {"text": "too long"}, {"text": "slow"}, {"text": "break"}):
            answer = await client.post(path, json=body)
            check(path, answer.status_code, answer.json())
    with pytest.raises(jsonschema.ValidationError):
        check("/api/say", 200, {"by": "anna"})


async def test_asyncapi_has_every_frame_command_and_event(guest: httpx2.AsyncClient, site: Any) -> None:
    document = (await guest.get("/api/asyncapi.json")).json()
    messages = document["channels"]["ws"]["messages"]
    expected = {"hello", "call", "ack", "note", "ping"}
    expected |= {
        f"server.{op}" for op in ("welcome", "reply", "error", "push", "lagged", "note", "beat", "pong", "bye")
    }
    for name in site.pipeline.commands:
        expected |= {f"call.{name}", f"reply.{name}"}
    expected |= {f"push.{name}" for name in PUSHED} | {f"note.{name}" for name in NOTED}
    assert set(messages) == expected
    listed = [it["$ref"].rpartition("/")[2] for it in document["operations"]["send"]["messages"]]
    listed += [it["$ref"].rpartition("/")[2] for it in document["operations"]["receive"]["messages"]]
    assert sorted(listed) == sorted(expected)


async def test_asyncapi_describes_a_real_welcome(guest: httpx2.AsyncClient) -> None:
    import msgspec

    document = (await guest.get("/api/asyncapi.json")).json()
    schema = document["channels"]["ws"]["messages"]["server.welcome"]["payload"]
    welcome = Welcome(
        session="s", resumed=False, device="d", epoch="e", version=0, heartbeat=30.0, resume_for=60.0, window=100,
        limits=Limits(), server_time=1, node="n",
    )  # fmt: skip
    frame = json.loads(msgspec.json.encode(welcome))
    jsonschema.validate(frame, {**schema, "components": document["components"]})
    del frame["epoch"]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(frame, {**schema, "components": document["components"]})
