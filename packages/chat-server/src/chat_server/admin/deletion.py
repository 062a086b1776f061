"""Deleting an account: what must be so at once is one transaction; the rest follows in portions, others' work between.

The first transaction ends the logins and takes away name, picture and every way in, so that nobody is there any more.
A row of `chat_deletion` says how far the rest has come. Each portion moves that row in its own transaction, so that a
process that dies in the middle loses nothing, and another node goes on: see `Deletions`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from attrs import define
from chat_common import wire
from chat_common.errors import Conflict
from chat_common.ports.database import Database
from chat_common.records import Caller
from msgspec import Meta
from sqlalchemy import Connection, and_, delete, select, update

from chat_server.admin.neighbours import Neighbours, Portion
from chat_server.store import audit
from chat_server.store.account_schema import deletion, push_address, report
from chat_server.store.executor import CommandExecutor, caller_user
from chat_server.store.replies import forget_replies_of
from chat_server.store.schema import member, push_due, restamp, user
from chat_server.store.statements import upsert
from chat_server.store.tx import Tx, missing

LOOK_EVERY = 5.0
"""Seconds until what another node left undone is seen."""
MOST = 100
"""Accounts looked up at once."""


@define(kw_only=True)
class DeleteUser:
    """``messages``: what the user has said goes as well; else it stays, under "Deleted account"."""

    user: wire.Id
    messages: bool = False


@define(kw_only=True)
class DeleteMyself:
    """``password``: the caller's, where there is one; else the login must be younger than five minutes. ``messages``:
    as for `DeleteUser`."""

    password: Annotated[str, Meta(max_length=256)] | None = None
    messages: bool = False


@define(kw_only=True)
class DeletedUser:
    """``done``: nothing is left to do; else the rest goes in the background."""

    user: str
    deleted_at: int
    messages: bool
    done: bool


def _forget_replies(tx: Tx, who: str, after: str) -> str | None:
    return after if forget_replies_of(tx.connection, who) else None


def _forget_reasons(tx: Tx, who: str, after: str) -> str | None:
    """What the user has reported stays, without the user's words."""
    said = and_(report.c.reporter == who, report.c.reason.is_not(None))
    some = list(tx.connection.execute(select(report.c.report).where(said).limit(MOST)).scalars())
    tx.connection.execute(update(report).where(report.c.report.in_(some)).values(reason=None))
    return after if some else None


class Deletions:
    """The use case ``admin.user.delete``, and the background work: the node that was asked carries it out (`run`), and
    what it leaves undone, one of all nodes takes up (`look`)."""

    def __init__(self, database: Database, executor: CommandExecutor, neighbours: Neighbours) -> None:
        self._database = database
        self._executor = executor
        self._neighbours = neighbours
        self._steps: Mapping[str, Portion] = {
            "contacts": neighbours.leaving.contacts,
            "own contacts": neighbours.leaving.own_contacts,
            "rooms": neighbours.leaving.rooms,
            "messages": neighbours.leaving.messages,
            "unread": neighbours.leaving.unread,
            "reports": _forget_reasons,
            "replies": _forget_replies,
        }
        self._order = list(self._steps)
        self._begun = asyncio.Event()

    # --- the use case -------------------------------------------------------------------------------------------------

    async def delete(self, by: str, request: DeleteUser) -> DeletedUser:
        """Delete an account. Asked again, it changes nothing, but for ``messages``, which may follow later.
        `Conflict` for oneself, `NotFound`."""
        if by == request.user:
            raise Conflict("user: This is yourself: let another admin do it, or the command line.", field="user")
        return await self.carry_out(by, request.user, request.messages)

    async def delete_myself(self, caller: Caller, request: DeleteMyself) -> DeletedUser:
        """Delete the caller's own account, who is proven once more: a stolen session is no reason to lose it.
        `NotAuthenticated`, `NotPermitted`; `Conflict` for the only admin."""
        me = caller_user(caller)
        await self._neighbours.prove_again(caller, request.password)
        await self._database.read(lambda connection: _refuse_last_admin(connection, me))
        return await self.carry_out(me, me, request.messages)

    async def carry_out(self, by: str, who: str, messages: bool) -> DeletedUser:
        """The same for whoever may delete this account."""
        ended: list[Any] = []
        first: list[bool] = []

        def work(tx: Tx) -> DeletedUser:
            row = tx.connection.execute(select(user).where(user.c.user == who).with_for_update()).one_or_none()
            if row is None:
                raise missing("user")
            first[:] = [row.deleted_at is None]
            ended[:] = self._erase(tx, who) if row.deleted_at is None else []
            noted = _noted(tx.connection, who)
            if row.deleted_at is None or (messages and (noted is None or not noted.messages)):
                _note(tx, who, self._order[0], messages)
                audit.note(tx.connection, tx.now, by, "user.delete", who, messages=messages)
            return _state(tx.connection, who)

        state = await self._executor.apply(work)
        self._begun.set()
        await self._neighbours.accounts.announce(ended)
        if first[0]:
            await self._neighbours.renamed(who)
        return state

    async def state(self, who: str) -> DeletedUser:
        """How far it has come."""
        return await self._database.read(lambda connection: _state(connection, who))

    def _erase(self, tx: Tx, who: str) -> Sequence[Any]:
        ended = self._neighbours.accounts.erase(tx, who)
        self._neighbours.leaving.profile(tx, who)
        for table in (push_address, push_due, restamp):
            tx.connection.execute(delete(table).where(table.c.user == who))
        return ended

    # --- the background work ------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """What is begun here, for ever."""
        while True:
            await self._begun.wait()
            self._begun.clear()
            await self.finish()

    async def look(self) -> None:
        """What any node has left undone, for ever."""
        while True:
            await self.finish()
            await asyncio.sleep(LOOK_EVERY)

    async def finish(self) -> None:
        """Carry out what is noted, one portion of one account after the other; what another node is at is left to
        it."""
        after = ""

        def due(connection: Connection) -> list[str]:
            some = select(deletion.c.user).where(deletion.c.user > after).order_by(deletion.c.user).limit(MOST)
            return list(connection.execute(some).scalars())

        while users := await self._database.read(due):
            for who in users:
                while await self._executor.apply(lambda tx, who=who: self._portion(tx, who, wait=False)):  # type: ignore[misc]
                    pass
            after = users[-1]

    async def finish_one(self, who: str) -> None:
        """Carry out what is noted of one account, in turn with others who are at it."""
        while await self._executor.apply(lambda tx: self._portion(tx, who)):
            pass

    def _portion(self, tx: Tx, who: str, *, wait: bool = True) -> bool:
        """One portion; whether there may be more. The row is locked: two nodes never do the same one. Without ``wait``
        False as well while another one is at it: nobody's writes here wait for that."""
        row = select(deletion).where(deletion.c.user == who).with_for_update(skip_locked=not wait)
        noted = tx.connection.execute(row).one_or_none()
        if noted is None:
            return False
        skipped = noted.step == "messages" and not noted.messages
        after = None if skipped else self._steps[noted.step](tx, who, noted.after)
        step = noted.step
        if after is None:
            after, place = "", self._order.index(step) + 1
            if place == len(self._order):
                return self._end(tx, who)
            step = self._order[place]
        tx.connection.execute(update(deletion).where(deletion.c.user == who).values(step=step, after=after))
        return True

    def _end(self, tx: Tx, who: str) -> bool:
        """Drop the row, unless something came in the meantime by a session that had not heard of its end yet."""
        if tx.connection.execute(
            select(member.c.user).where(member.c.user == who, member.c.to_seq.is_(None)).limit(1)
        ).first():
            tx.connection.execute(update(deletion).where(deletion.c.user == who).values(step=self._order[0], after=""))
            return True
        tx.connection.execute(delete(deletion).where(deletion.c.user == who))
        return False


def _refuse_last_admin(connection: Connection, who: str) -> None:
    admins = list(connection.execute(select(user.c.user).where(user.c.role == "admin").limit(2)).scalars())
    if admins == [who]:
        raise Conflict("You are the only admin here: make somebody else an admin first, or use the command line.")


def _noted(connection: Connection, who: str) -> Any:
    return connection.execute(select(deletion).where(deletion.c.user == who)).one_or_none()


def _note(tx: Tx, who: str, step: str, messages: bool) -> None:
    values = {"step": step, "after": "", "messages": messages}
    tx.connection.execute(
        upsert(tx.connection, deletion)
        .values(user=who, begun_at=tx.now, **values)
        .on_conflict_do_update(index_elements=["user"], set_=values)
    )


def _state(connection: Connection, who: str) -> DeletedUser:
    at = connection.execute(select(user.c.deleted_at).where(user.c.user == who)).scalar_one()
    noted = _noted(connection, who)
    return DeletedUser(user=who, deleted_at=at, messages=noted is not None and noted.messages, done=noted is None)
