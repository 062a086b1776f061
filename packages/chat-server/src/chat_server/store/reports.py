"""Reports: what users, and the lists of sensitive words, ask admins to look at.

A report names a message or a user and holds nothing of the text: admins see the message as it is now. One reporter has
one report of the same thing, however often it is sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from attrs import define
from chat_common.errors import RateLimited
from chat_common.settings import setting
from msgspec import Meta
from sqlalchemy import Connection, delete, select, tuple_, update

from chat_server.store.account_schema import report
from chat_server.store.statements import upsert
from chat_server.store.tx import Tx, missing, new_id

WORDS = "@words"
"""The reporter of what a list of sensitive words has found."""
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS

Category = Literal["spam", "harassment", "hate", "violence", "sexual", "self_harm", "illegal", "other"]
Reason = Annotated[str, Meta(max_length=500)]
Outcome = Literal["dismissed", "taken_down", "warned", "banned"]


@define(kw_only=True)
class ReportSettings:
    per_hour: Annotated[int, Meta(ge=1)] = setting(20, help="Reports that one user may make within an hour.")
    kept_days: Annotated[int, Meta(ge=1)] = setting(180, help="Days after which a closed report is deleted.")


@define(kw_only=True)
class Reported:
    """``report``: its id; the same for the same reporter and thing."""

    report: str


def file_report(
    tx: Tx,
    *,
    reporter: str,
    about: str,
    conversation: str = "",
    seq: int = 0,
    category: str,
    reason: str | None = None,
    changed_at: int = 0,
    per_hour: int | None = None,
) -> Reported:
    """Write a report down, or find the one that this reporter has made of the same thing.

    ``changed_at``: ms at which the message was last edited; a report that was closed before is opened again.
    ``per_hour``: `RateLimited` when the reporter has made so many within an hour; a repeated one is never refused.
    """
    thing = {"reporter": reporter, "conversation": conversation, "seq": seq, "about": about}
    known = _known(tx.connection, thing)
    if known is None:
        if per_hour is not None:
            _refuse_flood(tx, reporter, per_hour)
        tx.connection.execute(
            upsert(tx.connection, report)
            .values(report=new_id(), category=category, reason=reason, created_at=tx.now, **thing)
            .on_conflict_do_nothing(index_elements=list(thing))
        )
        known = _known(tx.connection, thing)  # ours, or that of the same call on another node
    elif known.closed_at is not None and changed_at > known.closed_at:
        again = {"closed_at": None, "closed_by": None, "outcome": None, "note": None}
        tx.connection.execute(
            update(report)
            .where(report.c.report == known.report)
            .values(category=category, reason=reason, created_at=tx.now, **again)
        )
    return Reported(report=known.report)


def _known(connection: Connection, thing: dict[str, Any]) -> Any:
    return connection.execute(
        select(report).where(*(report.c[name] == value for name, value in thing.items()))
    ).one_or_none()


def _refuse_flood(tx: Tx, reporter: str, per_hour: int) -> None:
    recent = (
        select(report.c.created_at)
        .where(report.c.reporter == reporter, report.c.created_at > tx.now - HOUR_MS)
        .order_by(report.c.created_at.desc())
        .limit(per_hour)
    )
    times = list(tx.connection.execute(recent).scalars())
    if len(times) >= per_hour:
        again = max(0.0, (times[-1] + HOUR_MS - tx.now) / 1000)
        raise RateLimited(f"At most {per_hour} reports can be made within an hour.", limit=per_hour, retry_after=again)


def open_page(connection: Connection, about: str | None, after: tuple[int, str] | None, limit: int) -> Sequence[Any]:
    """Reports that wait, the oldest first; ``after``: the time and id of the last one before them."""
    wanted = select(report).where(report.c.closed_at.is_(None))
    if after is not None:
        wanted = wanted.where(tuple_(report.c.created_at, report.c.report) > after)
    return _page(connection, wanted, about, limit, report.c.created_at, report.c.report)


def closed_page(connection: Connection, about: str | None, before: tuple[int, str] | None, limit: int) -> Sequence[Any]:
    """Reports that were closed, the last one first; ``before``: the time of closing and id of the last one seen."""
    wanted = select(report).where(report.c.closed_at.is_not(None))
    if before is not None:
        wanted = wanted.where(tuple_(report.c.closed_at, report.c.report) < before)
    return _page(connection, wanted, about, limit, report.c.closed_at.desc(), report.c.report.desc())


def _page(connection: Connection, wanted: Any, about: str | None, limit: int, *order: Any) -> Sequence[Any]:
    if about is not None:
        wanted = wanted.where(report.c.about == about)
    return connection.execute(wanted.order_by(*order).limit(limit)).all()


def one_report(connection: Connection, name: str, *, lock: bool = False) -> Any:
    """The row of a report; `NotFound`. ``lock``: for a change of it."""
    wanted = select(report).where(report.c.report == name)
    row = connection.execute(wanted.with_for_update() if lock else wanted).one_or_none()
    if row is None:
        raise missing("report")
    return row


def close_reports(tx: Tx, by: str, outcome: str, note: str | None, *which: Any) -> int:
    """Close those of the reports ``which`` (conditions) that are open; how many there were."""
    values = {"closed_at": tx.now, "closed_by": by, "outcome": outcome, "note": note}
    return tx.connection.execute(update(report).where(report.c.closed_at.is_(None), *which).values(**values)).rowcount


def forget_reports(connection: Connection, now: int, kept_days: int, limit: int = 1_000) -> int:
    """Delete reports that were closed more than ``kept_days`` ago, at most ``limit``; how many went."""
    old = (
        select(report.c.report)
        .where(report.c.closed_at < now - kept_days * DAY_MS)
        .order_by(report.c.closed_at)
        .limit(limit)
    )
    return connection.execute(
        delete(report).where(report.c.report.in_(list(connection.execute(old).scalars())))
    ).rowcount
