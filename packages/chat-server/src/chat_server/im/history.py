"""History: a page of a conversation, at any depth for the same price."""

from __future__ import annotations

from typing import Any

from attrs import define
from chat_common import wire
from chat_common.errors import Invalid
from chat_common.ports.database import Database
from chat_common.records import Caller
from sqlalchemy import Connection, select

from chat_server.store import pages, rights, views
from chat_server.store.executor import caller_user
from chat_server.store.rights import standing
from chat_server.store.schema import message


@define(kw_only=True)
class History:
    """``before`` or ``after`` (both exclusive) or neither: the newest page."""

    conversation: wire.Id
    before: wire.Count | None = None
    after: wire.Count | None = None
    limit: pages.Limit | None = None


@define(kw_only=True)
class HistoryHead:
    seq: int
    rev: int


@define(kw_only=True)
class HistoryPage:
    """``messages`` ascending by seq; ``first_seq``: the first message that the caller may see."""

    messages: list[wire.Message]
    first_seq: int
    head: HistoryHead


async def history(database: Database, preview: views.Previewed, caller: Caller, request: History) -> HistoryPage:
    """Messages within the caller's intervals; holes between spans are stepped over."""
    user = caller_user(caller)
    if request.before is not None and request.after is not None:
        raise Invalid("Give before or after, not both.", field="after")
    return await database.read(lambda connection: _page(connection, preview, user, request))


def _page(connection: Connection, preview: views.Previewed, user: str, request: History) -> HistoryPage:
    here = standing(connection, user, request.conversation, active=False)
    if here.left:
        head = HistoryHead(seq=here.member.to_seq, rev=here.member.rev)
    else:
        head = HistoryHead(seq=here.room.head_seq, rev=here.room.head_rev)
    first = views.first_visible(here.spans, here.room.first_kept)
    limit = request.limit or pages.DEFAULT
    rows = _rows(connection, request, here.spans, first, head.seq, limit)
    records = views.message_records(connection, rows, preview, end_rev=rights.end_rev(here))
    return HistoryPage(messages=records, first_seq=first, head=head)


def _rows(
    connection: Connection, request: History, spans: list[list[int]], first: int, head: int, limit: int
) -> list[Any]:
    """At most ``limit`` rows, one range look-up a span, so that depth and holes cost nothing."""
    forward = request.after is not None
    found: list[Any] = []
    for span in spans if forward else reversed(spans):
        low = max(span[0], first)
        high = min(span[1] if len(span) > 1 else head, head)
        if request.after is not None:
            low = max(low, request.after + 1)
        if request.before is not None:
            high = min(high, request.before - 1)
        if low > high:
            continue
        order = message.c.seq if forward else message.c.seq.desc()
        found.extend(
            connection.execute(
                select(message)
                .where(message.c.conversation == request.conversation, message.c.seq.between(low, high))
                .order_by(order)
                .limit(limit - len(found))
            )
        )
        if len(found) >= limit:
            break
    found = pages.within_bytes(found)
    return found if forward else found[::-1]
