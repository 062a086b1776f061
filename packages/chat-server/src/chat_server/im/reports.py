"""Report a message to those who run the server."""

from __future__ import annotations

from attrs import define
from chat_common import wire
from chat_common.errors import Conflict
from sqlalchemy import select

from chat_server.store import reports, rights
from chat_server.store.schema import message
from chat_server.store.tx import Tx, missing


@define(kw_only=True)
class ReportMessage:
    """``reason``: for admins, in the person's own words."""

    conversation: wire.Id
    seq: wire.Seq
    category: reports.Category = "other"
    reason: reports.Reason | None = None


def report_message(settings: reports.ReportSettings, tx: Tx, me: str, request: ReportMessage) -> reports.Reported:
    """Report a message that the user may see, also after having left; the same one twice is one report.

    `NotFound`; `Conflict`: it is the user's own, one of the server's, or was recalled. `RateLimited`.
    """
    here = rights.standing(tx.connection, me, request.conversation, active=False)
    row = None
    if rights.sees(here, request.seq):
        row = tx.connection.execute(
            select(message).where(message.c.conversation == request.conversation, message.c.seq == request.seq)
        ).one_or_none()
    if row is None:
        raise missing("message")
    if row.kind == "system":
        raise Conflict("The server itself wrote this message.", field="seq")
    if row.sender == me:
        raise Conflict("This message is your own.", field="seq")
    if row.recalled is not None:
        raise Conflict("This message was recalled.", field="seq")
    return reports.file_report(
        tx,
        reporter=me,
        about=row.sender,
        conversation=request.conversation,
        seq=request.seq,
        category=request.category,
        reason=request.reason or None,
        changed_at=row.edited_at or 0,
        per_hour=settings.per_hour,
    )
