"""What a client says about its device, and what the user's other devices are told about it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from attrs import define, frozen
from chat_common import wire
from chat_common.events import DeviceChanged
from chat_common.records import Caller, Push
from chat_common.validation import named

from chat_server.auth.logins import Ended
from chat_server.auth.policy import Newcomer
from chat_server.services import Deliver, Delivery
from chat_server.store import views


@define(kw_only=True)
class DeviceInfo:
    id: wire.Id
    platform: named(32) | None = None  # type: ignore[valid-type]
    name: named(64) | None = None  # type: ignore[valid-type]


def device_id(given: str | DeviceInfo | None) -> str | None:
    """Return the id, whichever way it was given."""
    return given.id if isinstance(given, DeviceInfo) else given


def newcomer(caller: Caller, device: str | DeviceInfo | None, replace: str | None = None) -> Newcomer:
    """Return the device that logs in: what the request says of it, else the one whose session asks."""
    info = device if isinstance(device, DeviceInfo) else None
    return Newcomer(
        device_id(device) or caller.device or None,
        info.platform if info else None,
        info.name if info else None,
        caller.address,
        replace,
    )


@frozen
class DeviceNews:
    """Tells a user's sessions of the user's devices. Lost where nobody is online: ``auth.devices`` has them all."""

    deliver: Deliver

    async def added(self, user: str, login: str, device: Newcomer, provider: str | None, now: int) -> None:
        """Tell of a login that was just made."""
        data = DeviceChanged(
            device=device.device or "",
            platform=device.platform or "unknown",
            name=views.or_unset(device.name),
            seen_at=now,
            state="added",
            login=login,
            address=views.or_unset(device.address),
            provider=views.or_unset(provider),
        )
        await self._deliver(user, [data])

    async def ended(self, logins: Iterable[Ended]) -> None:
        """Tell of logins that were just ended."""
        by_user: dict[str, list[DeviceChanged]] = {}
        for each in logins:
            if each.audience is not None:
                continue  # A phone that confirms logins is no device that is in.
            by_user.setdefault(each.user, []).append(
                DeviceChanged(
                    device=each.device or "",
                    platform=each.platform or "unknown",
                    name=views.or_unset(each.name),
                    seen_at=each.seen_at,
                    state="ended",
                    login=each.login,
                )
            )
        for user, changes in by_user.items():
            await self._deliver(user, changes)

    async def _deliver(self, user: str, changes: Sequence[DeviceChanged]) -> None:
        await self.deliver([Delivery([Push("device", each) for each in changes], {user: 0})])
