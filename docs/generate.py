"""Writes docs/reference/ from the code: `python docs/generate.py`. A test compares the pages with what this makes."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import attrs
import msgspec
from chat_common import hookspecs
from chat_common.errors import error_types
from chat_common.protocol.closing import CloseCode, reconnect_of
from chat_common.records import Command
from chat_server.cli.listing import settings_page
from chat_server.server import Server

FOLDER = Path(__file__).parent / "reference"
GENERATED = "<!-- Made by docs/generate.py from the code: change the code, then run it again. -->\n"


def first_paragraph(thing: Any) -> str:
    """The beginning of a docstring, as one line."""
    text = inspect.getdoc(thing) or ""
    return " ".join(text.split("\n\n")[0].split())


def fields(kind: type[Any]) -> str:
    """The fields of a record as a table."""
    lines = ["| field | type | |", "|---|---|---|"]
    hints = typing.get_type_hints(kind, include_extras=True)
    for attribute in attrs.fields(kind):
        shown, limits = type_name(hints[attribute.name])
        optional = attribute.default is not attrs.NOTHING
        lines.append(f"| `{attribute.name}`{'?' if optional else ''} | {shown} | {limits} |")
    return "\n".join(lines) if len(lines) > 2 else "(nothing)"


def type_name(hint: Any) -> tuple[str, str]:
    """A type as readers know it, and its limits in words."""
    limits: list[str] = []
    if typing.get_origin(hint) is typing.Annotated:
        hint, *notes = typing.get_args(hint)
        for note in notes:
            if isinstance(note, msgspec.Meta):
                limits += limit_words(note)
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        parts = [part for part in typing.get_args(hint) if part not in (type(None), msgspec.UnsetType)]
        named = [type_name(part) for part in parts]
        return " or ".join(name for name, _ in named), "; ".join(filter(None, [*limits, *(more for _, more in named)]))
    if origin is typing.Literal:
        return ", ".join(f"`{value}`" for value in typing.get_args(hint)), "; ".join(limits)
    if origin in (list, tuple):
        inner, more = type_name(typing.get_args(hint)[0])
        return f"list of {inner}", "; ".join(filter(None, [*limits, f"each: {more}" if more else ""]))
    simple = {str: "text", int: "integer", float: "number", bool: "true or false", Any: "JSON", dict: "object"}
    name = simple.get(hint) or simple.get(origin) or getattr(hint, "__name__", str(hint))
    return name, "; ".join(limits)


def limit_words(note: msgspec.Meta) -> Iterable[str]:
    """What a `Meta` asks, in words."""
    if note.min_length:
        yield f"≥ {note.min_length} long"
    if note.max_length is not None:
        yield f"≤ {note.max_length} long"
    if note.ge is not None:
        yield f"≥ {note.ge}"
    if note.gt is not None:
        yield f"> {note.gt}"
    if note.le is not None and note.le < 2**53 - 1:
        yield f"≤ {note.le}"
    if note.description is not None:
        yield note.description
    elif note.pattern == r"\S":
        yield "not blank"
    elif note.pattern:
        yield "of `A-Z a-z 0-9 _ -`"


MARKS = {"guests": " ○", "users": "", "admins": " ◆"}


def commands(table: Mapping[str, Any]) -> str:
    page = [GENERATED, "# Commands\n"]
    page.append(
        "Each is callable over the WebSocket (`call`), over HTTP (`POST /api/{name}`) and in process (`server.call`). "
        "○ = guests too, ◆ = admins alone. *reads*: no effect; *changes*: idempotent by `ref`.\n"
    )
    for name in sorted(table):
        command: Command = table[name].command
        page.append(f"## {name}\n")
        mode = "reads" if command.mode == "reads" else "changes"
        page.append(f"{command.summary} *{mode}*{MARKS[command.callers]}\n")
        page.append(f"Parameters:\n\n{fields(command.request)}\n")
        replies = typing.get_args(command.reply) or (command.reply,)
        for reply in replies:
            page.append(f"Result `{reply.__name__}`:\n\n{fields(reply)}\n")
    return "\n".join(page)


EVENTS = {
    "message": "A message, new or changed: the whole of it in its newest state.",
    "members": "Memberships that share a stamp: `{conversation, rev, members}`, at most 200.",
    "conversation": "What all members see of a conversation has changed.",
    "inbox": "An entry of one's own list has changed (joined, left, read, muted, pinned, hidden, shown again).",
    "contact": "A contact of one's own has changed.",
    "item": "Something was given to one, or is spent.",
    "user": "A profile has changed: one's own, `{user, version}`, or that of somebody whom one sees, `{user}`.",
    "device": "A device of one's own is new or was logged out: `{device, platform, name?, seen_at, state}`.",
    "login": "To the guest who began a login: `{ticket, state, token?, user?, expires_at?}`.",
    "token": "A fresh token in good time before the old one ends: `{token, expires_at}`.",
    "typing": "Note, not counted: somebody is writing in a conversation.",
    "presence": "Note, not counted: somebody whom one watches came or went.",
}


def events() -> str:
    page = [
        GENERATED,
        "# Events\n",
        "What a server tells without being asked; see the protocol page for how they count.\n",
    ]
    page += [f"## {name}\n\n{text}\n" for name, text in EVENTS.items()]
    return "\n".join(page)


def errors() -> str:
    page = [GENERATED, "# Errors\n", "`message` is for a person and names the field and the limit.\n"]
    for code, kind in error_types().items():
        page.append(f"## {code}\n\nStatus {kind.status}. {first_paragraph(kind)}\n")
    return "\n".join(page)


def close_codes() -> str:
    page = [GENERATED, "# Close codes\n", "Each comes after a `bye` where the socket can still be written.\n"]
    for code in sorted(CloseCode):
        words = code.name.lower().replace("_", " ")
        page.append(f"## {int(code)}\n\n{words}; reconnect: **{reconnect_of(code)}**\n")
    return "\n".join(page)


def hooks() -> str:
    page = [GENERATED, "# Hooks\n"]
    page.append(
        "A plugin marks its functions with `chat_common.hookspecs.hookimpl`. Each is called once at start-up "
        "and returns a list of records.\n"
    )
    for name, function in sorted(vars(hookspecs).items()):
        if name.startswith("chat_"):
            returns = inspect.signature(function).return_annotation
            asked = ", ".join(inspect.signature(function).parameters)
            page.append(f"## {name}\n\n`{name}({asked}) -> {returns}`\n\n{first_paragraph(function)}\n")
    return "\n".join(page)


def ports(server: Server) -> str:
    page = [GENERATED, "# Ports\n", "What a plugin may replace, and what there is. `[ports]` chooses by name.\n"]
    by_port: dict[type[Any], list[Any]] = {}
    for owned in server.plugins.backends:
        by_port.setdefault(owned.record.port, []).append(owned.record)
    for port in sorted(by_port, key=lambda port: port.__name__):
        page.append(f"## {port.__name__}\n\n{first_paragraph(port)}\n\n| backend | |\n|---|---|")
        for backend in sorted(by_port[port], key=lambda backend: backend.name):
            page.append(f"| `{backend.name}`{' (default)' if backend.default else ''} | {backend.summary} |")
        page.append("")
    return "\n".join(page)


async def pages(data: Path) -> dict[str, str]:
    """Every page by its name, for a server with nothing but what is installed and the login for trying out."""
    given = {"server": {"data": str(data)}, "auth": {"dev": True}, "ports": {"push_provider": ["log"]}}
    async with Server(settings=given, environ={}) as server:
        return {
            "commands": commands(server.pipeline.commands),
            "events": events(),
            "errors": errors(),
            "close-codes": close_codes(),
            "settings": f"{GENERATED}\n{settings_page()}\n",
            "hooks": hooks(),
            "ports": ports(server),
        }


if __name__ == "__main__":
    import asyncio
    import tempfile

    with tempfile.TemporaryDirectory() as scratch:
        for name, text in asyncio.run(pages(Path(scratch))).items():
            (FOLDER / f"{name}.md").write_text(text)
