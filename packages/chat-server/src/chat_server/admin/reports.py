"""Reports, as admins work them off: look, take down, warn, keep out, or dismiss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from attrs import define, frozen
from chat_common import wire
from chat_common.ports.database import Database
from msgspec import UNSET, Meta, UnsetType
from sqlalchemy import Connection, select, update

from chat_server.admin.neighbours import Neighbours
from chat_server.store import audit, pages, views
from chat_server.store.account_schema import report
from chat_server.store.executor import CommandExecutor
from chat_server.store.reports import (
    Outcome,
    close_reports,
    closed_page,
    one_report,
    open_page,
)
from chat_server.store.schema import message, meta, user
from chat_server.store.statements import upsert
from chat_server.store.tx import Tx, require_users

SENDER = "Moderator"
"""The name under which people are warned; nobody else can take it, see `chat_server.names.RESERVED`."""
_SENDER_KEY = "moderator"

Note = Annotated[str, Meta(max_length=500)]


@define(kw_only=True)
class Report:
    """``reporter``: a user, or ``@words`` for a list of sensitive words. ``about``: the user whom it is about.
    ``preview``: the message as it is now, its kind ``recalled`` once it was taken down; absent where it is not kept.
    ``outcome``, ``closed_at``, ``closed_by``, ``note``: once it is closed."""

    report: str
    reporter: str
    about: str
    category: str
    created_at: int
    reason: str | UnsetType = UNSET
    conversation: str | UnsetType = UNSET
    seq: int | UnsetType = UNSET
    preview: wire.Preview | UnsetType = UNSET
    outcome: str | UnsetType = UNSET
    closed_at: int | UnsetType = UNSET
    closed_by: str | UnsetType = UNSET
    note: str | UnsetType = UNSET


@define(kw_only=True)
class ReportShown:
    """``message``: the whole of it, as it is now."""

    report: Report
    message: wire.Message | UnsetType = UNSET


@define(kw_only=True)
class ListReports:
    """Those that wait, the oldest first; or those that were closed, the last one first. ``about``: this user."""

    state: Literal["open", "closed"] = "open"
    about: wire.Id | None = None
    cursor: pages.Cursor | None = None
    limit: pages.Limit | None = None


@define(kw_only=True)
class ReportsPage:
    reports: list[Report]
    cursor: str | UnsetType = UNSET


@define(kw_only=True)
class OneReport:
    report: wire.Id


@define(kw_only=True)
class CloseReport:
    """``note``: for other admins."""

    report: wire.Id
    outcome: Outcome = "dismissed"
    note: Note | None = None


@define(kw_only=True)
class TakeDown:
    """``note``: for other admins; it stands in the reports that this closes."""

    conversation: wire.Id
    seq: wire.Seq
    note: Note | None = None


@define(kw_only=True)
class WarnUser:
    """``text``: what the person reads. ``report``: the one that this answers; it is closed."""

    user: wire.Id
    text: Annotated[str, Meta(min_length=1, max_length=1_000, pattern=r"\S")]
    report: wire.Id | None = None


@define(kw_only=True)
class Warned:
    """``conversation``, ``seq``: of the message that warns."""

    conversation: str
    seq: int


@frozen
class Reports:
    """The use cases of ``admin.report.*``, ``admin.message.recall`` and ``admin.user.warn``. ``by``: whom the audit
    names."""

    database: Database
    executor: CommandExecutor
    neighbours: Neighbours

    async def list(self, by: str, request: ListReports) -> ReportsPage:
        """A page of reports, each with the first line of the message as it is now."""
        waiting = request.state == "open"
        name = f"admin.report.list {request.state}"
        place = pages.read_cursor(name, request.cursor, tuple[int, str]) if request.cursor else None
        limit = request.limit or pages.DEFAULT

        def page(connection: Connection) -> ReportsPage:
            rows = (open_page if waiting else closed_page)(connection, request.about, place, limit + 1)
            shown = rows[:limit]
            cursor: str | UnsetType = UNSET
            if len(rows) > limit:
                last = shown[-1]
                cursor = pages.write_cursor(name, last.created_at if waiting else last.closed_at, last.report)
            return ReportsPage(reports=[*self._records(connection, shown)], cursor=cursor)

        return await self.database.read(page)

    async def show(self, by: str, request: OneReport) -> ReportShown:
        """One report with the whole message; `NotFound`. Who looked is noted."""

        def work(tx: Tx) -> ReportShown:
            row = one_report(tx.connection, request.report)
            audit.note(tx.connection, tx.now, by, "report.show", row.about, report=row.report)
            return self._shown(tx.connection, row)

        return await self.executor.apply(work)

    async def close(self, by: str, request: CloseReport) -> ReportShown:
        """Close one report; one that is closed stays as it is. `NotFound`."""

        def work(tx: Tx) -> ReportShown:
            row = one_report(tx.connection, request.report, lock=True)
            if close_reports(tx, by, request.outcome, request.note, report.c.report == row.report):
                audit.note(
                    tx.connection, tx.now, by, "report.close", row.about, report=row.report, outcome=request.outcome
                )
            return self._shown(tx.connection, one_report(tx.connection, request.report))

        return await self.executor.apply(work)

    async def take_down(self, by: str, request: TakeDown) -> wire.Message:
        """Recall a message for everybody, and close what was reported of it. `NotFound`, `Conflict`."""

        def work(tx: Tx) -> wire.Message:
            record = self.neighbours.take_down(tx, request.conversation, request.seq)
            here = report.c.conversation == request.conversation, report.c.seq == request.seq
            closed = close_reports(tx, by, "taken_down", request.note, *here)
            audit.note(
                tx.connection, tx.now, by, "message.recall", record.sender,
                conversation=request.conversation, seq=request.seq, reports=closed or None,
            )  # fmt: skip
            return record

        return await self.executor.apply(work)

    async def warn(self, by: str, request: WarnUser) -> Warned:
        """Write to a user as the server's moderator; both are seen by that user alone. `NotFound`."""

        def work(tx: Tx) -> Warned:
            require_users(tx.connection, [request.user])
            if request.report is not None:
                one_report(tx.connection, request.report, lock=True)
            sender = self._sender(tx)
            name = self.neighbours.open_direct(tx, sender, request.user)
            room = tx.room(name)
            room.say(sender, "warned", [request.user], {"text": request.text})
            if request.report is not None:
                close_reports(tx, by, "warned", None, report.c.report == request.report)
            audit.note(tx.connection, tx.now, by, "user.warn", request.user, report=request.report)
            return Warned(conversation=name, seq=room.head_seq)

        return await self.executor.apply(work)

    def _sender(self, tx: Tx) -> str:
        """The account in whose name the server warns, made at the first warning. Nobody can log in as it."""
        mine = meta.c.key == _SENDER_KEY
        tx.connection.execute(upsert(tx.connection, meta).values(key=_SENDER_KEY, value="").on_conflict_do_nothing())
        # The lock lets one of two first warnings make the account, and the other one find it.
        known = tx.connection.execute(select(meta.c.value).where(mine).with_for_update()).scalar_one()
        if tx.connection.execute(select(user.c.user).where(user.c.user == known)).first() is None:
            known = self.neighbours.create_user(tx, SENDER, None).user
            tx.connection.execute(update(meta).where(mine).values(value=known))
        return str(known)

    def _shown(self, connection: Connection, row: Any) -> ReportShown:
        found = _messages(connection, [row])
        said = found.get((row.conversation, row.seq))
        whole = UNSET if said is None else views.message_record(connection, said, self.executor.preview)
        return ReportShown(report=self._record(row, said), message=whole)

    def _records(self, connection: Connection, rows: Sequence[Any]) -> Sequence[Report]:
        found = _messages(connection, rows)
        return [self._record(row, found.get((row.conversation, row.seq))) for row in rows]

    def _record(self, row: Any, said: Any) -> Report:
        return Report(
            report=row.report,
            reporter=row.reporter,
            about=row.about,
            category=row.category,
            created_at=row.created_at,
            reason=views.or_unset(row.reason),
            conversation=row.conversation or UNSET,
            seq=row.seq or UNSET,
            preview=UNSET if said is None else views.preview_of_row(said, self.executor.preview),
            outcome=views.or_unset(row.outcome),
            closed_at=views.or_unset(row.closed_at),
            closed_by=views.or_unset(row.closed_by),
            note=views.or_unset(row.note),
        )


def _messages(connection: Connection, rows: Sequence[Any]) -> dict[tuple[str, int], Any]:
    """The messages that these reports are about, by conversation and number."""
    wanted: dict[str, set[int]] = {}
    for row in rows:
        if row.seq:
            wanted.setdefault(row.conversation, set()).add(row.seq)
    return {
        (said.conversation, said.seq): said
        for name, seqs in wanted.items()
        for said in connection.execute(
            select(message).where(message.c.conversation == name, message.c.seq.in_(sorted(seqs)))
        )
    }
