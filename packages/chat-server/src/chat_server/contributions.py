"""What a room contributes to the server: the same records as a plugin hands over, under the room's own name."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from attrs import evolve, field, frozen
from chat_common.plugins import Contributions, Owned, Owner, PluginError
from chat_common.records import Caller, Check, Command, Consumer, Context, Screens, Task
from chat_common.wire import OtherText


@frozen(kw_only=True)
class RoomContributions:
    """A room's client commands, consumers of topics, background work and HTTP routes."""

    room: str
    commands: Sequence[Command] = field(factory=tuple)
    consumers: Sequence[Consumer] = field(factory=tuple)
    tasks: Sequence[Task] = field(factory=tuple)
    routes: Sequence[Any] = field(factory=tuple)


def records(owned: Sequence[Owned[Any]]) -> list[Any]:
    """What plugins and rooms have handed over, without who it was."""
    return [one.record for one in owned]


def screens_texts(**fields: str) -> Screens:
    """For `Command.screens`: fields of the request that others read, each with its target (see `OtherText`)."""

    async def screens(check: Check, caller: Caller, request: Any) -> Any:
        for name, target in fields.items():
            value = getattr(request, name)
            if isinstance(value, str):
                place = getattr(request, "conversation", None) or ""
                said = OtherText(conversation=place, kind="text", body={"text": value}, target=target)
                passed = await check(caller, said)
                request = evolve(request, **{name: passed.body["text"]})
        return request

    return screens


async def screens_message(check: Check, caller: Caller, request: Any) -> Any:
    """For `Command.screens` of ``submit``: the request itself."""
    return await check(caller, request)


def every(seconds: float, work: Callable[[], Awaitable[Any]]) -> Callable[[Context], Awaitable[None]]:
    """Background work: ``work`` again and again, with ``seconds`` between two runs."""

    async def run(_context: Context) -> None:
        while True:
            await asyncio.sleep(seconds)
            await work()

    return run


def with_rooms(plugged: Contributions, rooms: Sequence[RoomContributions]) -> Contributions:
    """The rooms' records before those of the plugins. `PluginError` where a plugin takes the name of one of ours."""
    owners = {room.room: Owner(f"chat_server.{room.room}") for room in rooms}

    def joined(kind: str, key: Callable[[Any], str], others: Sequence[Owned[Any]]) -> list[Owned[Any]]:
        ours = [Owned(record, owners[room.room]) for room in rooms for record in getattr(room, kind)]
        taken: dict[str, Owner] = {}
        for owned in (*ours, *others):
            name = key(owned.record)
            if name in taken:
                raise PluginError(f"{name} is registered twice: by {taken[name]} and by {owned.owner}.")
            taken[name] = owned.owner
        return [*ours, *others]

    return Contributions(
        commands=joined("commands", lambda it: f"command {it.name!r}", plugged.commands),
        interceptors=plugged.interceptors,
        observers=plugged.observers,
        tasks=joined("tasks", lambda it: f"task {it.name!r}", plugged.tasks),
        ensured=plugged.ensured,
        consumers=joined("consumers", lambda it: f"consumer {it.group!r} of topic {it.topic!r}", plugged.consumers),
        routes=[*(Owned(route, owners[room.room]) for room in rooms for route in room.routes), *plugged.routes],
    )
