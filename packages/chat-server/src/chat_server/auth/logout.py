"""``auth.logout``: the login of the caller ends, everywhere."""

from __future__ import annotations

from attrs import frozen
from chat_common.errors import Invalid
from chat_common.records import Caller

from chat_server.auth.endings import Endings
from chat_server.auth.logins import end
from chat_server.auth.neighbours import Ports
from chat_server.auth.requests import Nothing
from chat_server.store.account_schema import login
from chat_server.store.executor import caller_user


@frozen
class Logout:
    """Repeated, it finds the login ended and is content."""

    ports: Ports
    endings: Endings

    async def __call__(self, caller: Caller, request: Nothing) -> Nothing:
        user, family, now = caller_user(caller), caller.token, self.ports.clock.wall_ms()
        if family is None:
            raise Invalid("This caller has no login to end.")
        mine = (login.c.login == family) & (login.c.user == user)
        ended = await self.ports.database.change(lambda connection: end(connection, mine, "logout", now))
        await self.endings.announce(ended)
        return Nothing()
