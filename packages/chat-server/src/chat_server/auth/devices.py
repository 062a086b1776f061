"""What a client says of the device that it is."""

from __future__ import annotations

from attrs import define
from chat_common import wire
from chat_common.validation import named


@define(kw_only=True)
class DeviceInfo:
    id: wire.Id
    platform: named(32) | None = None  # type: ignore[valid-type]
    name: named(64) | None = None  # type: ignore[valid-type]


def device_id(given: str | DeviceInfo | None) -> str | None:
    """The id, whichever way it was given."""
    return given.id if isinstance(given, DeviceInfo) else given
