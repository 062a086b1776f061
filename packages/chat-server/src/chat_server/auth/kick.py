"""``auth.kick``: the user logs a device out, or all others, or one login."""

from __future__ import annotations

from typing import Literal

from attrs import define, frozen
from chat_common import wire
from chat_common.errors import Invalid
from chat_common.records import Caller
from sqlalchemy import Connection, or_

from chat_server.auth.endings import Endings
from chat_server.auth.logins import Ended, end, lock_user
from chat_server.auth.neighbours import Ports
from chat_server.store.account_schema import login
from chat_server.store.executor import caller_user


@define(kw_only=True)
class Kick:
    """One ``login``, one ``device``, or ``all`` but the one that asks, phones that are remembered included."""

    device: wire.Id | None = None
    all: Literal[True] | None = None
    login: wire.Id | None = None


@define(kw_only=True)
class Kicked:
    """``kicked``: the devices, without those that never named themselves; ``logins``: all that were ended."""

    kicked: list[str]
    logins: list[str]


@frozen
class KickDevices:
    """Ends logins of the caller's user, and those alone."""

    ports: Ports
    endings: Endings

    async def __call__(self, caller: Caller, request: Kick) -> Kicked:
        me, now = caller_user(caller), self.ports.clock.wall_ms()
        if [request.device, request.all, request.login].count(None) != 2:
            raise Invalid("Give one of the three: device, login, or all.", field="device")
        if request.all:
            # By id where the caller has a login; a caller in process has none, and then really all end.
            wanted = login.c.login != (caller.token or "")
        else:
            wanted = or_(login.c.device == (request.device or ""), login.c.login == (request.login or ""))

        def write(connection: Connection) -> list[Ended]:
            lock_user(connection, me)
            return end(connection, (login.c.user == me) & wanted, "kick", now)

        ended = await self.ports.database.change(write)
        await self.endings.announce(ended)
        return Kicked(
            kicked=sorted({each.device for each in ended if each.device is not None}),
            logins=[each.login for each in ended],
        )
