"""The data of every pushed event and every note: one record each, for the server, its documents and its clients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from attrs import define
from msgspec import UNSET, UnsetType

from chat_common import wire
from chat_common.decoding import prepare


@define(kw_only=True)
class MembersChanged:
    """Memberships that share the stamp ``rev``, as they are now."""

    conversation: str
    rev: int
    members: list[wire.Member]
    since: int | UnsetType = UNSET


@define(kw_only=True)
class UserChanged:
    """The own profile with its ``version``; of others without one."""

    user: wire.User
    version: int | UnsetType = UNSET


@define(kw_only=True)
class DeviceChanged:
    """Data of the event ``device``: a device has logged in, or its login was ended.

    ``device`` is empty for a login that has not named its device yet. ``login`` names the login, as in
    ``auth.devices``; ``address`` and ``provider`` say where from and how. ``seen_at`` in ms since 1970.
    """

    device: str
    platform: str
    seen_at: int
    state: Literal["added", "ended"]
    name: str | UnsetType = UNSET
    login: str | UnsetType = UNSET
    address: str | UnsetType = UNSET
    provider: str | UnsetType = UNSET


@define(kw_only=True)
class LoginProgress:
    """To the guest who began: how the login by ticket stands. ``devices``: those that keep a refused one out."""

    ticket: str
    state: Literal["scanned", "succeeded", "refused", "expired"]
    token: str | UnsetType = UNSET
    user: wire.User | UnsetType = UNSET
    expires_at: int | UnsetType = UNSET
    devices: list[dict[str, Any]] | UnsetType = UNSET


@define(kw_only=True)
class TokenRenewed:
    token: str
    expires_at: int


@define(kw_only=True)
class Typing:
    conversation: str
    user: str


@define(kw_only=True)
class PresenceChanged:
    user: str
    online: bool


prepare(MembersChanged, UserChanged, DeviceChanged, LoginProgress, TokenRenewed, Typing, PresenceChanged)


PUSHED: Mapping[str, type[Any]] = {
    "message": wire.Message,
    "members": MembersChanged,
    "conversation": wire.Conversation,
    "inbox": wire.Inbox,
    "contact": wire.Contact,
    "item": wire.Item,
    "user": UserChanged,
    "device": DeviceChanged,
    "login": LoginProgress,
    "token": TokenRenewed,
}

NOTED: Mapping[str, type[Any]] = {"typing": Typing, "presence": PresenceChanged}
