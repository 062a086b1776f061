"""The settings of the room: groups and users."""

from __future__ import annotations

from typing import Annotated, Literal

from attrs import Factory, define, field, frozen
from chat_common.settings import setting
from msgspec import Meta

from chat_server.names import RESERVED
from chat_server.names.handles import NameRules, Script
from chat_server.store.reports import ReportSettings
from chat_server.store.retention import RetentionSettings

Positive = Annotated[int, Meta(ge=1)]


@define(kw_only=True)
class GroupSettings:
    """Section ``[groups]``."""

    strangers: Literal["ask", "allow"] = setting(
        "ask",
        help="Users who are neither a contact of the inviter nor in a common conversation: ask them first, or let them"
        " be put into groups.",
    )
    owned: Positive = setting(1_000, help="Groups that one user may own at most.")
    joined: Positive = setting(5_000, help="Groups that one user may be in at most.")


@define(kw_only=True)
class UserSettings:
    """Section ``[users]``."""

    directory: Literal["search", "open", "contacts"] = setting(
        "search",
        help="Who is found by user.search: those whose name matches; open: everybody, also without a query; contacts:"
        " contacts, and others by their exact login name or id.",
    )
    renames: Positive = setting(5, help="How often one user may change the name within a day (UTC).")
    exports: Annotated[int, Meta(ge=0)] = setting(
        3, help="How often one user may export the own data within 24 hours; 0: only admins can."
    )
    handle_letters: list[Script] = setting(
        Factory(list),
        help="Scripts whose letters may stand in login names, beside a-z, 0-9, `_`, `.` and `-`.",
    )
    reserved: list[str] = setting(
        Factory(lambda: list(RESERVED)),
        help="Names and login names that nobody may take, nor what looks like them; admins may give them.",
    )

    @property
    def rules(self) -> NameRules:
        """What names are judged by."""
        return NameRules.of(self.handle_letters, self.reserved)


@frozen
class LogicSettings:
    """All of the room."""

    groups: GroupSettings = field(factory=GroupSettings)
    users: UserSettings = field(factory=UserSettings)
    reports: ReportSettings = field(factory=ReportSettings)
    retention: RetentionSettings = field(factory=RetentionSettings)
