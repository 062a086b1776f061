"""A device says hello with its token: the login learns which device it is, and when it was last seen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attrs import frozen
from chat_common.errors import NotAuthenticated
from sqlalchemy import Connection, Row, bindparam, select, update

from chat_server.auth.endings import Endings, why_ended
from chat_server.auth.issue import decided
from chat_server.auth.logins import Ended, Heir, end, held, lock_user
from chat_server.auth.neighbours import Neighbours, Ports
from chat_server.auth.policy import Newcomer, Policy
from chat_server.auth.settings import AuthSettings
from chat_server.store.account_schema import login
from chat_server.store.statements import CompiledStatement

SEEN_EVERY_MS = 300_000


@frozen
class Arrival:
    """A hello: the row of its login as it was read, and what the device says of itself."""

    row: Row[Any]
    device: str
    platform: str | None
    name: str | None


_SEEN = CompiledStatement(
    update(login).where(login.c.login == bindparam("login_")).values(seen_at=bindparam("at_"), name=bindparam("name_")),
    "at_",
    "name_",
    "login_",
)


def note_seen(connection: Connection, items: Sequence[tuple[int, str | None, str]]) -> Sequence[None]:
    """When logins were last seen, and how their devices call themselves."""
    _SEEN.many(connection, items)
    return [None for _ in items]


@frozen
class Binding:
    """Binds a login to the first device that says hello with its token."""

    ports: Ports
    neighbours: Neighbours
    settings: AuthSettings
    endings: Endings

    async def arrived(self, arrival: Arrival, now: int) -> None:
        """Write what is new of it. `NotAuthenticated`: another device was first; `TooManyLogins`: the policy refuses a
        device whose platform was not known when it logged in."""
        row = arrival.row
        if row.device is None or (row.platform is None and arrival.platform is not None):
            await self._bind(arrival, now)
            return
        name = arrival.name or row.name
        if name != row.name or row.seen_at <= now - SEEN_EVERY_MS:
            await self.ports.database.change_many(note_seen, (now, name, row.login))

    async def _bind(self, arrival: Arrival, now: int) -> None:
        row, policy = arrival.row, Policy.of(self.settings)
        online: set[str] = set()
        if policy.asks_who_is_present:
            online = {device for _, device in await self.neighbours.online([row.user])}
        device = Newcomer(arrival.device, row.platform or arrival.platform, arrival.name or row.name, row.address)

        def write(connection: Connection) -> list[Ended]:
            lock_user(connection, row.user)
            # Read again under the lock: of two devices that show the token for the first time at once, one is bound.
            current = connection.execute(select(login).where(login.c.login == row.login)).one_or_none()
            if current is None or current.ended_at is not None:
                raise why_ended(None if current is None else current.ended_by)
            if current.device not in (None, arrival.device):
                raise NotAuthenticated("token: The token belongs to another device. Log in on this one.", field="token")
            others = [each for each in held(connection, row.user, now, online) if each.login != row.login]
            decision = decided(policy.decide(device, others))
            heir = Heir(row.login, arrival.device)
            ended = end(connection, login.c.login.in_(decision.end), "replaced", now, heir=heir)
            connection.execute(
                update(login)
                .where(login.c.login == row.login)
                .values(device=arrival.device, platform=device.platform, name=device.name, seen_at=now)
            )
            return ended

        await self.endings.announce(await self.ports.database.change(write))
        if row.device is None:
            await self.endings.news.added(row.user, row.login, device, row.provider, now)
