"""Report a user to those who run the server."""

from __future__ import annotations

from attrs import define
from chat_common import wire
from chat_common.errors import Conflict

from chat_server.store import reports
from chat_server.store.tx import Tx, require_users


@define(kw_only=True)
class ReportUser:
    """``reason``: for admins, in the person's own words: what is wrong with the name, the picture, the behaviour."""

    user: wire.Id
    category: reports.Category = "other"
    reason: reports.Reason | None = None


def report_user(settings: reports.ReportSettings, tx: Tx, me: str, request: ReportUser) -> reports.Reported:
    """Report a user; the same one twice is one report as long as it is open. `NotFound`, `Conflict` for oneself,
    `RateLimited`."""
    if request.user == me:
        raise Conflict("This is yourself.", field="user")
    require_users(tx.connection, [request.user])
    return reports.file_report(
        tx,
        reporter=me,
        about=request.user,
        category=request.category,
        reason=request.reason or None,
        changed_at=tx.now,  # what a user is like may have changed since: a closed report is opened again
        per_hour=settings.per_hour,
    )
