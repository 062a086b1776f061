"""``auth.devices``: where the user is logged in."""

from __future__ import annotations

from attrs import define, frozen
from chat_common.records import Caller
from msgspec import UNSET, UnsetType
from sqlalchemy import select

from chat_server.auth.neighbours import Neighbours, Ports
from chat_server.auth.requests import Nothing
from chat_server.store import views
from chat_server.store.account_schema import login
from chat_server.store.executor import caller_user
from chat_server.store.rights import lives

MOST = 500


@define(kw_only=True)
class DeviceState:
    """A login that lives; times in ms since 1970. ``device`` is empty for one that has not named its device yet.

    ``seen_at`` is exact to five minutes. ``ends_at``: when the person must log in again at the latest. ``provider``:
    how the person was proven. ``address``: where from, as the server saw it. ``current``: the login that asks.
    """

    login: str
    device: str
    platform: str
    created_at: int
    seen_at: int
    expires_at: int
    online: bool
    current: bool
    name: str | UnsetType = UNSET
    provider: str | UnsetType = UNSET
    address: str | UnsetType = UNSET
    region: str | UnsetType = UNSET
    ends_at: int | UnsetType = UNSET


@define(kw_only=True)
class Devices:
    devices: list[DeviceState]


@frozen
class ListDevices:
    """The newest 500, the last seen first."""

    ports: Ports
    neighbours: Neighbours

    async def __call__(self, caller: Caller, request: Nothing) -> Devices:
        me, now = caller_user(caller), self.ports.clock.wall_ms()
        mine = select(login).where(login.c.user == me, lives(now)).order_by(login.c.seen_at.desc()).limit(MOST)
        rows = await self.ports.database.read(lambda connection: connection.execute(mine).all())
        online = {name for _, name in await self.neighbours.online([me])}
        return Devices(
            devices=[
                DeviceState(
                    login=row.login,
                    device=row.device or "",
                    platform=row.platform or "unknown",
                    created_at=row.created_at,
                    seen_at=row.seen_at,
                    expires_at=row.expires_at,
                    online=row.device in online,
                    current=row.login == caller.token,
                    name=views.or_unset(row.name),
                    provider=views.or_unset(row.provider),
                    address=views.or_unset(row.address),
                    region=views.or_unset(row.region),
                    ends_at=views.or_unset(row.ends_at),
                )
                for row in rows
            ]
        )
