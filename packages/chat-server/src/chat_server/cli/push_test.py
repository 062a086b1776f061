"""``chat-server push test``: a notification that no message stands behind."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from chat_common.assembly import Assembly
from chat_common.clock import SystemClock
from chat_common.ports.database import Database
from chat_common.ports.push import Address, Notification, PushProvider, Result
from chat_common.settings import SetupError

from chat_server.cli.choice import Choice
from chat_server.cli.data import furnish, load
from chat_server.store import push_addresses

TTL = 600


async def send_test(choice: Choice, user: str) -> tuple[Sequence[str], bool]:
    """A line for each address of the user; and whether a platform has taken the notification for one of them. Nothing
    is forgotten or tried again by it."""
    plugins, settings = load(choice)
    clock = SystemClock()
    async with Assembly(plugins, settings, clock=clock) as assembly:
        furnish(assembly, settings)
        providers = await assembly.all(PushProvider)  # type: ignore[type-abstract]
        if not providers:
            raise SetupError('No push provider is chosen: set for example [ports] push_provider = ["webpush"].')
        database = await assembly.get(Database)  # type: ignore[type-abstract]
        found = await database.read(lambda connection: push_addresses.of(connection, user, clock.wall_ms()))
        if not found:
            return [f"{user} has no device that is told while away"], False
        notification = Notification(user, "", 0, "Interesting Chat", "Notifications work.", "test", TTL)
        lines, delivered = [], False
        for each in found:
            where = f"{each.device or each.login}  {each.provider}"
            if each.provider not in providers:
                lines.append(f"{where}  this provider is not chosen")
                continue
            address = Address(each.device, msgspec.json.decode(each.address))
            (outcome,) = await providers[each.provider].send(notification, [address])
            delivered = delivered or outcome.result is Result.DELIVERED
            lines.append(f"{where}  {outcome.result.value}{f': {outcome.reason}' if outcome.reason else ''}")
        return lines, delivered
