"""Invitations for new people, each good for one account until a time."""

from __future__ import annotations

from typing import Annotated

from attrs import define, frozen
from chat_common import wire
from chat_common.clock import Clock
from chat_common.ports.database import Database
from msgspec import UNSET, Meta, UnsetType

from chat_server.store import invites
from chat_server.store.tx import missing

DAY_MS = 24 * 3_600_000


@define(kw_only=True)
class MakeInvite:
    """``days``: how long it is good. ``note``: for whom, for other admins."""

    days: Annotated[int, Meta(ge=1, le=365)] = 7
    note: Annotated[str, Meta(max_length=200)] | None = None


@define(kw_only=True)
class InviteMade:
    """``code``: what the person gives at registration; it is shown this once."""

    invite: str
    code: str
    expires_at: int


@define(kw_only=True)
class ListInvites:
    """The newest first."""

    limit: Annotated[int, Meta(ge=1, le=1_000)] = 100


@define(kw_only=True)
class Invite:
    """``used_by``: the account that was made with it."""

    invite: str
    made_by: str
    created_at: int
    expires_at: int
    note: str | UnsetType = UNSET
    used_by: str | UnsetType = UNSET


@define(kw_only=True)
class InvitesPage:
    invites: list[Invite]


@define(kw_only=True)
class OneInvite:
    invite: wire.Id


@define(kw_only=True)
class Nothing:
    """An empty answer."""


@frozen
class Invites:
    """The use cases of ``admin.invite.*``. ``by``: whom the audit names."""

    database: Database
    clock: Clock

    async def make(self, by: str, request: MakeInvite) -> InviteMade:
        """Make a code with which one account can be made."""
        now = self.clock.wall_ms()
        name, code, expires_at = await self.database.change(
            lambda connection: invites.make(connection, now, by, request.days * DAY_MS, request.note)
        )
        return InviteMade(invite=name, code=code, expires_at=expires_at)

    async def first_admin(self) -> str | None:
        """Make the code of the first admin's account, good for a day, in the place of one that was made before; None:
        there are accounts."""
        now = self.clock.wall_ms()
        return await self.database.change(lambda connection: invites.for_first_admin(connection, now, DAY_MS))

    async def list(self, by: str, request: ListInvites) -> InvitesPage:
        """Those that are good, used or not over for long."""
        rows = await self.database.read(lambda connection: invites.newest(connection, request.limit))
        return InvitesPage(
            invites=[
                Invite(
                    invite=row.invite,
                    made_by=row.made_by,
                    created_at=row.created_at,
                    expires_at=row.expires_at,
                    note=UNSET if row.note is None else row.note,
                    used_by=UNSET if row.used_by is None else row.used_by,
                )
                for row in rows
            ]
        )

    async def revoke(self, by: str, request: OneInvite) -> Nothing:
        """End one that nobody has used; `NotFound`."""
        now = self.clock.wall_ms()
        if not await self.database.change(lambda connection: invites.revoke(connection, now, by, request.invite)):
            raise missing("unused invite")
        return Nothing()
