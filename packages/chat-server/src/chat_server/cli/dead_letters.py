"""The subcommands of the outbox: how much waits, and what was given up."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from attrs import evolve
from chat_common.assembly import Assembly
from chat_common.errors import NotFound
from chat_common.ports.broker import Broker
from chat_common.ports.outbox import DeadLetter, DeadLetters, GroupStatus
from chat_common.settings import SetupError

from chat_server.cli.choice import Choice
from chat_server.cli.data import furnish, is_embedded, load, sqlite_file
from chat_server.cli.output import moment

T = TypeVar("T")


def dead_letter_lines(choice: Choice, topic: str | None, limit: int, after: str | None) -> Sequence[str]:
    """A line for each dead letter, newest first."""

    async def look(dead_letters: DeadLetters) -> Sequence[DeadLetter]:
        return await dead_letters.list(topic=topic, limit=limit, after=after)

    return [
        f"{each.id:<8} {each.state:<6} {moment(each.time)} {each.topic} {each.group} key={each.key} "
        f"attempts={each.attempts} {each.reason}"
        for each in _with(choice, look)
    ] or ["there are no dead letters"]


def dead_letter_page(choice: Choice, id: str, payload: bool) -> Sequence[str]:
    """All of one; its payload, which may hold what people wrote, only when asked for."""
    found = _with(choice, lambda dead_letters: dead_letters.show(id))
    fields = {
        "id": found.id,
        "state": found.state,
        "topic": found.topic,
        "group": found.group,
        "key": found.key,
        "attempts": found.attempts,
        "reason": found.reason,
        "time": moment(found.time),
        "payload": found.payload.decode(errors="replace") if payload else f"{len(found.payload)} bytes (--payload)",
    }
    return [f"{name:<9} {value}" for name, value in fields.items()]


def replay_dead_letters(choice: Choice, ids: Sequence[str]) -> str:
    return f"{_all(choice, ids, lambda dead_letters: dead_letters.replay(ids))} given to the relay again"


def drop_dead_letters(choice: Choice, ids: Sequence[str]) -> str:
    return f"{_all(choice, ids, lambda dead_letters: dead_letters.drop(ids))} dropped"


def status_lines(choice: Choice) -> Sequence[str]:
    """What waits. The rate is that of two looks, a second apart."""

    async def look(dead_letters: DeadLetters) -> Sequence[str]:
        before = await dead_letters.status()
        await asyncio.sleep(1.0)
        status = await dead_letters.status()
        depth = sum(status.depth.values())
        oldest = "-" if status.oldest is None else f"{status.oldest:.1f} s"
        return [
            f"depth   {depth}" + "".join(f"  {topic}={count}" for topic, count in status.depth.items()),
            f"oldest  {oldest}",
            f"rate    {depth - sum(before.depth.values()):+d} rows/s",
            f"parked  {status.parked}",
            f"buried  {status.buried}",
            *(_group_line(group) for group in status.groups),
        ]

    return _with(choice, look)


def _group_line(group: GroupStatus) -> str:
    stands = "runs" if group.running else f"is run by nobody, last seen {group.seen / 60:.0f} min ago"
    return f"group   {group.topic}/{group.group} {stands}" + (f", {group.waiting} wait for it" if group.waiting else "")


def forget_group(choice: Choice, topic: str, group: str) -> str:
    async def work(dead_letters: DeadLetters) -> bool:
        return await dead_letters.forget(topic, group)

    if not _with(choice, work):
        raise SetupError(f"The topic {topic!r} has no group {group!r}; `chat-server outbox status` lists the groups.")
    return f"nothing waits for {topic}/{group} any more"


def provision(choice: Choice, broker: str, what: str) -> str:
    """The file that an operator feeds to a broker's own tool, for all topics and groups of the installed plugins."""
    topics, groups = asyncio.run(_subscriptions(choice))
    plugins, settings = load(evolve(choice, more={**choice.more, "CHAT__PORTS__BROKER": broker}))

    async def ask() -> Any:
        async with Assembly(plugins, settings) as assembly:
            furnish(assembly, settings)
            return (await assembly.get(Broker)).provision(topics, groups)  # type: ignore[type-abstract]

    found = asyncio.run(ask())
    if what not in found:
        raise SetupError(f"The broker {broker!r} needs no {what}.")
    return json.dumps(found[what], indent=2)


ALONE = {
    "BROKER": "memory",
    "CACHE": "memory",
    "DATABASE": "sqlite",
    "DIRECTORY": "memory",
    "IDENTITY_PROVIDER": "password",
    "OBJECT_STORE": "local",
    "RPC": "direct",
}
"""The backends of a server that needs no other one."""


async def _subscriptions(choice: Choice) -> tuple[list[str], list[str]]:
    """The topics and groups of a server with these plugins and settings: of one that is opened for a moment, in an
    empty folder, and that reaches for no other server. Who consumes depends on settings: items, words, webhooks."""
    from chat_server.server import Server

    with TemporaryDirectory() as folder:
        alone = {f"CHAT__PORTS__{port}": backend for port, backend in ALONE.items()}
        environ = {**choice.environ, "CHAT__SERVER__DATA": folder, **alone}
        async with Server(config=choice.config, environ=environ) as server:
            consumers = [owned.record for owned in server.contributions.consumers]
    return sorted({each.topic for each in consumers}), sorted({each.group for each in consumers})


def _all(choice: Choice, ids: Sequence[str], work: Callable[[DeadLetters], Awaitable[int]]) -> int:
    count = _with(choice, work)
    if count < len(ids):
        raise NotFound(f"{len(ids) - count} of these {len(ids)} dead letters do not exist.")
    return count


def _with(choice: Choice, work: Callable[[DeadLetters], Awaitable[T]]) -> T:
    plugins, settings = load(choice)
    if is_embedded(settings) and not sqlite_file(choice).exists():
        raise SetupError("There is no database yet, because the server has not run with these settings.")

    async def run() -> T:
        async with Assembly(plugins, settings) as assembly:
            furnish(assembly, settings)
            return await work(await assembly.get(DeadLetters))  # type: ignore[type-abstract]

    return asyncio.run(run())
