"""The devices of a user: what a client says of the one that it is, and what the others are told."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from attrs import define, frozen
from chat_common import wire
from chat_common.events import DeviceChanged
from chat_common.ports.database import Database
from chat_common.records import Push
from chat_common.validation import named
from sqlalchemy import select

from chat_server.services import Deliver, Delivery
from chat_server.store import views
from chat_server.store.schema import device


@define(kw_only=True)
class DeviceInfo:
    id: wire.Id
    platform: named(32) | None = None  # type: ignore[valid-type]
    name: named(64) | None = None  # type: ignore[valid-type]


def device_id(given: str | DeviceInfo | None) -> str | None:
    """The id, whichever way it was given."""
    return given.id if isinstance(given, DeviceInfo) else given


@frozen
class DeviceNews:
    """Tells a user's sessions of the user's devices. Lost where nobody is online: ``auth.devices`` has them all."""

    database: Database
    deliver: Deliver

    async def tell(self, user: str, devices: Iterable[str], state: Literal["added", "ended"]) -> None:
        names = sorted(set(devices))
        if not names:
            return
        rows = await self.database.read(
            lambda connection: connection.execute(
                select(device).where(device.c.user == user, device.c.device.in_(names)).order_by(device.c.device)
            ).all()
        )
        pushes = [
            Push(
                "device",
                DeviceChanged(
                    device=row.device,
                    platform=row.platform or "unknown",
                    name=views.or_unset(row.name),
                    seen_at=row.seen_at,
                    state=state,
                ),
            )
            for row in rows
        ]
        if pushes:
            await self.deliver([Delivery(pushes, {user: 0})])
