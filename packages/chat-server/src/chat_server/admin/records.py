"""Requests and replies about accounts."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from attrs import define, field
from chat_common import wire
from chat_common.validation import named
from msgspec import UNSET, Meta, UnsetType

from chat_server.store import pages

Name = named(64)
Role = Literal["user", "admin"]
Password = Annotated[str, Meta(min_length=8, max_length=256)]


@define(kw_only=True)
class Ban:
    """``until`` in ms since 1970; absent: for good."""

    until: int | UnsetType = UNSET
    reason: str | UnsetType = UNSET


@define(kw_only=True)
class Account:
    """``logs_in``: as ``provider name`` for each way in; ``logins``: how many live at this moment. ``handle``: the
    login name. ``deleted_at``: the account is gone, and what others hold of it is called so."""

    user: str
    name: str
    role: Role
    created_at: int
    logins: int
    handle: str | UnsetType = UNSET
    seen_at: int | UnsetType = UNSET
    logs_in: list[str] = field(factory=list)
    ban: Ban | UnsetType = UNSET
    deleted_at: int | UnsetType = UNSET


@define(kw_only=True)
class ListAccounts:
    """``query``: the beginning of a name, a login name, or a whole id."""

    query: Name | None = None  # type: ignore[valid-type]
    role: Role | None = None
    banned: bool = False
    cursor: pages.Cursor | None = None
    limit: pages.Limit | None = None


@define(kw_only=True)
class AccountsPage:
    accounts: list[Account]
    cursor: str | UnsetType = UNSET


@define(kw_only=True)
class OneUser:
    user: wire.Id


@define(kw_only=True)
class AddUser:
    """``password``: what the person logs in with. ``handle``: under which login name; absent: the one that goes with
    the name."""

    name: Name  # type: ignore[valid-type]
    handle: Name | None = None  # type: ignore[valid-type]
    password: Password
    role: Role = "user"


@define(kw_only=True)
class RenameUser:
    user: wire.Id
    name: Name  # type: ignore[valid-type]


@define(kw_only=True)
class SetPassword:
    """It ends every login of the user."""

    user: wire.Id
    password: Password


@define(kw_only=True)
class SetRole:
    user: wire.Id
    role: Role


@define(kw_only=True)
class BanUser:
    """``until`` in ms since 1970; absent: for good. ``reason``: for other admins."""

    user: wire.Id
    until: wire.Count | None = None
    reason: Annotated[str, Meta(max_length=500)] | None = None


@define(kw_only=True)
class ListNotes:
    """``about``: by or to this user. ``act``: a name, or its beginning up to a dot."""

    about: Annotated[str, Meta(max_length=256)] | None = None
    act: Annotated[str, Meta(max_length=64)] | None = None
    cursor: pages.Cursor | None = None
    limit: pages.Limit | None = None


@define(kw_only=True)
class AuditNote:
    """``actor``: a user, ``console:NAME`` for the command line, ``app`` for the application around the server, or an
    address."""

    time: int
    actor: str
    act: str
    subject: str
    details: dict[str, Any] = field(factory=dict)


@define(kw_only=True)
class NotesPage:
    notes: list[AuditNote]
    cursor: str | UnsetType = UNSET
