"""Accounts, as those see them who run the server. Each change and its note are one transaction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from attrs import evolve, frozen
from chat_common.errors import Conflict
from chat_common.ports.database import Database
from msgspec import UNSET
from sqlalchemy import Connection, and_, func, or_, select, update

from chat_server.admin.neighbours import Neighbours
from chat_server.admin.records import (
    Account,
    AccountsPage,
    AddUser,
    Ban,
    BanUser,
    ListAccounts,
    OneUser,
    RenameUser,
    SetPassword,
    SetRole,
)
from chat_server.names import display_name, folded
from chat_server.names.handles import typed
from chat_server.store import audit, pages
from chat_server.store.account_schema import ban, identity, login
from chat_server.store.executor import CommandExecutor
from chat_server.store.rights import role_of
from chat_server.store.schema import user
from chat_server.store.tx import Tx, missing, require_users

T = TypeVar("T")


@frozen
class Users:
    """The use cases of ``admin.user.*``. ``by``: whom the audit names; a user's id, or ``console:NAME``."""

    database: Database
    executor: CommandExecutor
    neighbours: Neighbours

    # --- looking ------------------------------------------------------------------------------------------------------

    async def list(self, by: str, request: ListAccounts) -> AccountsPage:
        """A page of accounts, in order of name."""
        after = pages.read_cursor("admin.user.list", request.cursor, tuple[str, str]) if request.cursor else None
        limit, now = request.limit or pages.DEFAULT, self.executor.clock.wall_ms()
        wanted = select(user).where(user.c.deleted_at.is_(None))
        if request.query is not None:
            begin = folded(request.query)
            begins = and_(user.c.folded >= begin, user.c.folded < begin + "\U0010ffff")
            named = self._logging_in_as(request.query)
            wanted = wanted.where(or_(begins, user.c.user == request.query, user.c.user.in_(named)))
        if request.role is not None:
            wanted = wanted.where(user.c.role == request.role)
        if request.banned:
            wanted = wanted.where(
                user.c.user.in_(select(ban.c.user).where(or_(ban.c.until.is_(None), ban.c.until > now)))
            )
        if after is not None:
            wanted = wanted.where(
                or_(user.c.folded > after[0], and_(user.c.folded == after[0], user.c.user > after[1]))
            )

        def page(connection: Connection) -> AccountsPage:
            rows = connection.execute(wanted.order_by(user.c.folded, user.c.user).limit(limit + 1)).all()
            more = len(rows) > limit
            rows = rows[:limit]
            cursor = pages.write_cursor("admin.user.list", rows[-1].folded, rows[-1].user) if more else UNSET
            return AccountsPage(accounts=_accounts(connection, rows, now), cursor=cursor)

        return await self.database.read(page)

    async def show(self, by: str, request: OneUser) -> Account:
        """One account; `NotFound`."""
        now = self.executor.clock.wall_ms()
        return await self.database.read(lambda connection: _account(connection, request.user, now))

    async def role_of(self, who: str) -> str:
        """The user's role, for the pipeline."""
        return await self.database.read(lambda connection: role_of(connection, who))

    async def find(self, text: str) -> str:
        """The user with this id (a deleted one too), login name or name. `NotFound`; `Conflict` names the ids where
        several are meant."""

        def look(connection: Connection) -> str:
            for condition in (
                user.c.user == text,
                user.c.user.in_(self._logging_in_as(text)),
                and_(user.c.folded == folded(text), user.c.deleted_at.is_(None)),
            ):
                found = connection.execute(select(user.c.user).where(condition).order_by(user.c.user).limit(6))
                ids = list(found.scalars())
                if len(ids) > 1:
                    raise Conflict(f"Several users are called {text!r}: say which by its id, {', '.join(ids)}.")
                if ids:
                    return str(ids[0])
            raise missing(f"user {text!r}")

        return await self.database.read(look)

    def _logging_in_as(self, name: str) -> Any:
        subject = self.neighbours.accounts.login_name(name)
        by_handle = select(user.c.user).where(user.c.handle == typed(name))
        return select(identity.c.user).where(identity.c.subject == subject).union(by_handle)

    # --- changing -----------------------------------------------------------------------------------------------------

    async def add(self, by: str, request: AddUser) -> Account:
        """Make an account with a password, whatever the setting for registration; `Conflict`: the name is taken."""
        secret = await self.neighbours.accounts.hashed(request.password)
        rules = self.neighbours.rules
        # Who runs the server may give reserved ones.
        name = display_name(request.name)
        handle = evolve(rules, reserved=frozenset()).checked(request.handle or rules.derived(name))

        def work(tx: Tx) -> Account:
            who = self.neighbours.create_user(tx, name, handle).user
            self.neighbours.accounts.set_password(tx, who, secret)
            tx.connection.execute(update(user).where(user.c.user == who).values(role=request.role))
            audit.note(tx.connection, tx.now, by, "user.add", who, role=request.role)
            return _account(tx.connection, who, tx.now)

        return await self.executor.apply(work)

    async def rename(self, by: str, request: RenameUser) -> Account:
        """Give a user another name, seen by everybody who sees the user."""
        name = display_name(request.name)  # reserved ones too

        def work(tx: Tx) -> None:
            self.neighbours.rename(tx, request.user, name)

        account = await self._change(by, request.user, "user.rename", work)
        await self.neighbours.renamed(request.user)
        return account

    async def set_password(self, by: str, request: SetPassword) -> Account:
        """Give a user another password, or the first one, and end every login."""
        secret = await self.neighbours.accounts.hashed(request.password)
        ended: list[Any] = []

        def work(tx: Tx) -> None:
            self.neighbours.accounts.set_password(tx, request.user, secret)
            ended[:] = self.neighbours.accounts.log_out(tx, request.user)

        account = await self._change(by, request.user, "user.password", work)
        await self.neighbours.accounts.announce(ended)
        return account

    async def set_role(self, by: str, request: SetRole) -> Account:
        """Give a user another role; `Conflict` for one's own, so that no admin locks the last one out by mistake."""
        _not_oneself(by, request.user)

        def work(tx: Tx) -> None:
            tx.connection.execute(update(user).where(user.c.user == request.user).values(role=request.role))

        return await self._change(by, request.user, "user.role", work, role=request.role)

    async def ban(self, by: str, request: BanUser) -> Account:
        """Keep a user out and close what is open with 4403; `Conflict` for oneself."""
        _not_oneself(by, request.user)
        ended: list[Any] = []

        def work(tx: Tx) -> Account:
            accounts = self.neighbours.accounts
            ended[:] = accounts.ban(tx, request.user, request.until, request.reason, by)
            return _account(tx.connection, request.user, tx.now)

        account = await self.executor.apply(work)
        await self.neighbours.accounts.announce(ended)
        return account

    async def unban(self, by: str, request: OneUser) -> Account:
        """Let a user in again; nothing happens where there is no ban."""

        def work(tx: Tx) -> Account:
            self.neighbours.accounts.unban(tx, request.user, by)
            return _account(tx.connection, request.user, tx.now)

        return await self.executor.apply(work)

    async def log_out(self, by: str, request: OneUser) -> Account:
        """End every login of a user."""
        ended: list[Any] = []

        def work(tx: Tx) -> None:
            ended[:] = self.neighbours.accounts.log_out(tx, request.user)

        account = await self._change(by, request.user, "user.logout", work)
        await self.neighbours.accounts.announce(ended)
        return account

    async def _change(self, by: str, who: str, act: str, work: Callable[[Tx], None], **details: Any) -> Account:
        def once(tx: Tx) -> Account:
            require_users(tx.connection, [who])
            work(tx)
            audit.note(tx.connection, tx.now, by, act, who, **details)
            return _account(tx.connection, who, tx.now)

        return await self.executor.apply(once)


def _not_oneself(by: str, who: str) -> None:
    if by == who:
        raise Conflict("user: This is yourself: let another admin do it, or the command line.", field="user")


def _row(connection: Connection, who: str) -> Any:
    row = connection.execute(select(user).where(user.c.user == who)).one_or_none()
    if row is None:
        raise missing("user")
    return row


def _account(connection: Connection, who: str, now: int) -> Account:
    return _accounts(connection, [_row(connection, who)], now)[0]


def _accounts(connection: Connection, rows: Sequence[Any], now: int) -> list[Account]:
    ids = [row.user for row in rows]
    alive = and_(login.c.ended_at.is_(None), login.c.expires_at > now)
    logins = {
        row.user: (row.live, row.seen)
        for row in connection.execute(
            select(login.c.user, func.count().filter(alive).label("live"), func.max(login.c.seen_at).label("seen"))
            .where(login.c.user.in_(ids))
            .group_by(login.c.user)
        )
    }
    ways: dict[str, list[str]] = {}
    for row in connection.execute(select(identity).where(identity.c.user.in_(ids)).order_by(identity.c.provider)):
        ways.setdefault(row.user, []).append(f"{row.provider} {row.subject}")
    in_force = or_(ban.c.until.is_(None), ban.c.until > now)
    bans = {
        row.user: Ban(
            until=UNSET if row.until is None else row.until, reason=UNSET if row.reason is None else row.reason
        )
        for row in connection.execute(select(ban).where(ban.c.user.in_(ids), in_force))
    }
    return [
        Account(
            user=row.user,
            name=row.name,
            role=row.role,
            created_at=row.created_at,
            handle=UNSET if row.handle is None else row.handle,
            logins=logins.get(row.user, (0, 0))[0],
            seen_at=logins[row.user][1] if row.user in logins else UNSET,
            logs_in=ways.get(row.user, []),
            ban=bans.get(row.user, UNSET),
            deleted_at=UNSET if row.deleted_at is None else row.deleted_at,
        )
        for row in rows
    ]
