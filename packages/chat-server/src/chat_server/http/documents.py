"""OpenAPI and AsyncAPI, generated from the command table, the frames and the wire records."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import Any
from urllib.parse import urlsplit

import msgspec
from chat_common.errors import error_types
from chat_common.events import NOTED, PUSHED
from chat_common.protocol import frames
from chat_common.protocol.closing import CloseCode, reconnect_of
from chat_common.protocol.frames import SUBPROTOCOL

from chat_server.pipeline.dispatch import Entry

Schema = dict[str, Any]
REFERENCE = "#/components/schemas/{name}"


def openapi(commands: Mapping[str, Entry], address: str = "") -> Schema:
    """OpenAPI 3.1: one ``POST /api/{name}`` for each command. ``address``: of the server, or its path, without a slash
    at the end."""
    kinds = [kind for entry in commands.values() for kind in (entry.command.request, *_options(entry.command.reply))]
    schemas, components = _schemas(kinds)
    components["Error"] = _error_schema()
    paths = {f"/api/{name}": {"post": _operation(entry, schemas)} for name, entry in sorted(commands.items())}
    return {
        "openapi": "3.1.0",
        "info": _info("The commands of protocol.md over HTTP: the body is the params, the answer the result."),
        "servers": [{"url": address or "/"}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def asyncapi(commands: Mapping[str, Entry], address: str = "") -> Schema:
    """AsyncAPI 3.0: what a client sends and receives on ``/ws``, with each command's and each event's own shape."""
    sent = typing.get_args(frames.ClientFrame)
    received = typing.get_args(frames.ServerFrame)
    kinds: list[Any] = [kind for kind in sent if kind not in (frames.Call, frames.ClientNote)]
    kinds += [*received, *PUSHED.values(), *NOTED.values()]
    for entry in commands.values():
        kinds += [entry.command.request, *_options(entry.command.reply)]
    schemas, components = _schemas(kinds)
    out: Schema = {}
    into: Schema = {}
    # In these two the payload is read later, so the class itself does not tell its shape.
    params, data = {"type": "object"}, {"type": "object"}
    schemas[frames.Call] = _frame("call", ["ref", "command"], ref=_text(64), command=_text(64), params=params)
    schemas[frames.ClientNote] = _frame("note", ["event"], event=_text(64), data=data)
    for kind in sent:
        name = _tag(kind)
        into[name] = {"name": name, "summary": _summary(kind), "payload": schemas[kind]}
    for kind in received:
        name = _tag(kind)
        out[f"server.{name}"] = {"name": name, "summary": _summary(kind), "payload": schemas[kind]}
    for name, entry in sorted(commands.items()):
        command = entry.command
        into[f"call.{name}"] = {
            "name": f"call {name}",
            "summary": command.summary,
            "payload": _frame("call", ["ref", "command", "params"], command={"const": name},
                              ref=_text(64), params=schemas[command.request]),
        }  # fmt: skip
        out[f"reply.{name}"] = {
            "name": f"reply to {name}",
            "payload": _frame("reply", ["ref", "result"], ref=_text(64), result=_any_of(command.reply, schemas)),
        }
    for event, kind in PUSHED.items():
        out[f"push.{event}"] = {
            "name": f"push {event}",
            "payload": _frame("push", ["event", "data"], event={"const": event}, data=schemas[kind]),
        }
    for event, kind in NOTED.items():
        out[f"note.{event}"] = {
            "name": f"note {event}",
            "payload": _frame("note", ["event", "data"], event={"const": event}, data=schemas[kind]),
        }
    return {
        "asyncapi": "3.0.0",
        "info": _info("One frame, or a list of 1-128 of them, in each WebSocket message."),
        "servers": {"here": _here(address)},
        "channels": {
            "ws": {
                "address": "/ws",
                "messages": {**into, **out},
                "x-close-codes": {
                    str(code.value): {"name": code.name.lower(), "reconnect": reconnect_of(code)} for code in CloseCode
                },
            }
        },
        "operations": {
            "send": _does("send", into),
            "receive": _does("receive", out),
        },
        "components": {"schemas": components},
    }


def _here(address: str) -> Schema:
    parts = urlsplit(address)
    here = {
        "host": parts.netloc or "localhost",
        "protocol": "wss" if parts.scheme == "https" else "ws",
        "description": f"Subprotocol {SUBPROTOCOL}.",
    }
    return {**here, "pathname": parts.path} if parts.path else here


def _info(description: str) -> Schema:
    return {
        "title": "Interesting-Chat",
        "version": metadata.version("interesting-chat-server"),
        "description": description,
        "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
    }


def _schemas(kinds: Sequence[Any]) -> tuple[dict[Any, Schema], Schema]:
    once = list(dict.fromkeys(kinds))
    found, components = msgspec.json.schema_components(once, ref_template=REFERENCE)
    return dict(zip(once, found, strict=True)), dict(components)


def _options(reply: Any) -> Sequence[Any]:
    return typing.get_args(reply) if isinstance(reply, types.UnionType) else (reply,)


def _any_of(reply: Any, schemas: Mapping[Any, Schema]) -> Schema:
    options = [schemas[kind] for kind in _options(reply)]
    return options[0] if len(options) == 1 else {"anyOf": options}


def _operation(entry: Entry, schemas: Mapping[Any, Schema]) -> Schema:
    command = entry.command
    operation: Schema = {
        "operationId": command.name,
        "summary": command.summary,
        "tags": [command.name.partition(".")[0]],
        "x-mode": command.mode,
        "x-owner": entry.owner,
        "security": [{}, {"token": []}] if command.callers == "guests" else [{"token": []}],
        "requestBody": {"content": {"application/json": {"schema": schemas[command.request]}}},
        "responses": {
            "200": {
                "description": "The result.",
                "content": {"application/json": {"schema": _any_of(command.reply, schemas)}},
            },
            **_error_responses(),
        },
    }
    if command.mode != "reads":
        operation["parameters"] = [
            {
                "name": "Idempotency-Key",
                "in": "header",
                "description": "The ref: the same again gives the same result. Made by the server when absent.",
                "schema": _text(64),
            }
        ]
    return operation


def _error_responses() -> Schema:
    by_status: dict[int, list[str]] = {}
    for code, kind in error_types().items():
        by_status.setdefault(kind.status, []).append(code)
    return {
        str(status): {
            "description": ", ".join(codes),
            "content": {"application/json": {"schema": {"$ref": REFERENCE.format(name="Error")}}},
        }
        for status, codes in sorted(by_status.items())
    }


def _error_schema() -> Schema:
    return {
        "type": "object",
        "required": ["code", "message"],
        "properties": {
            "code": {"type": "string", "enum": sorted(error_types())},
            "message": {"type": "string", "description": "For a person; names the field and the limit."},
            "field": {"type": "string", "description": "The path of the offending parameter."},
            "limit": {"type": "integer"},
            "retry_after": {"type": "number", "description": "Seconds."},
        },
    }


def _frame(op: str, required: Sequence[str], **properties: Any) -> Schema:
    return {"type": "object", "required": ["op", *required], "properties": {"op": {"const": op}, **properties}}


def _text(limit: int) -> Schema:
    return {"type": "string", "minLength": 1, "maxLength": limit}


def _tag(kind: Any) -> str:
    return str(kind.__struct_config__.tag)


def _summary(kind: Any) -> str:
    text = (kind.__doc__ or "").strip()
    return "" if text.startswith(kind.__name__ + "(") else text.partition("\n")[0]


def _does(action: str, messages: Schema) -> Schema:
    return {
        "action": action,
        "channel": {"$ref": "#/channels/ws"},
        "messages": [{"$ref": f"#/channels/ws/messages/{name}"} for name in messages],
    }
