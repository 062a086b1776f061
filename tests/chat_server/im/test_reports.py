"""Reports as users make them: of what one may see, once, and not without end."""

from __future__ import annotations

from typing import Any

import pytest
from chat_common.errors import Conflict, Invalid, NotFound, RateLimited
from chat_server.store.account_schema import report
from chat_server.store.reports import forget_reports
from sqlalchemy import func, select

from tests.chat_server.house import House


async def count(house: House) -> int:
    return int((await house.rows(select(func.count()).select_from(report)))[0][0])


async def test_the_same_message_is_reported_once_by_each(house: House) -> None:
    ada, bert, carl = await house.users("ada", "bert", "carl")
    room = await house.group(ada, bert, carl)
    said = await house.say(ada, room, "rude words")
    about = {"conversation": room, "seq": said["seq"], "category": "harassment"}
    first = await house.call(bert, "message.report", **about, reason="it is rude")
    assert await house.call(bert, "message.report", **about, reason="again, in other words") == first
    assert await house.call(carl, "message.report", **about) != first
    (row, other) = await house.rows(select(report).order_by(report.c.reason.is_(None)))
    assert (row.reporter, row.about, row.seq, row.category, row.reason) == (
        bert,
        ada,
        said["seq"],
        "harassment",
        "it is rude",
    )
    assert (other.reporter, other.reason) == (carl, None)
    assert not any("rude words" in str(value) for each in (row, other) for value in each), "no copy of the text"


async def test_only_what_one_may_see_and_others_have_said_is_reported(house: House) -> None:
    ada, bert, carl = await house.users("ada", "bert", "carl")
    room = await house.group(ada, bert)
    await house.call(ada, "group.update", conversation=room, name="renamed")
    (system,) = [one["seq"] for one in (await house.call(bert, "history", conversation=room))["messages"]]
    seen = (await house.say(ada, room))["seq"]
    own = (await house.say(bert, room))["seq"]
    recalled = (await house.say(ada, room))["seq"]
    await house.call(ada, "message.recall", conversation=room, seq=recalled)
    await house.call(ada, "group.kick", conversation=room, users=[bert])
    unseen = (await house.say(ada, room))["seq"]
    wrong: list[tuple[str, int, type[Exception]]] = [
        (bert, unseen, NotFound),
        (bert, 10_000, NotFound),
        (carl, seen, NotFound),
        (bert, own, Conflict),
        (bert, recalled, Conflict),
        (bert, system, Conflict),
    ]
    for who, seq, error in wrong:
        with pytest.raises(error):
            await house.call(who, "message.report", conversation=room, seq=seq)
    with pytest.raises(Invalid) as refused:
        await house.call(bert, "message.report", conversation=room, seq=seen, reason="x" * 501)
    assert refused.value.field == "reason"
    with pytest.raises(Invalid):
        await house.call(bert, "message.report", conversation=room, seq=seen, category="dull")
    assert await count(house) == 0
    await house.call(bert, "message.report", conversation=room, seq=seen)  # who was put out still reads it
    assert await count(house) == 1


async def test_twenty_reports_an_hour_and_a_repeated_one_is_not_counted(house: House) -> None:
    ada, bert = await house.users("ada", "bert")
    room = await house.group(ada, bert)
    said = [(await house.say(ada, room))["seq"] for _ in range(21)]
    for seq in said[:20]:
        await house.call(bert, "message.report", conversation=room, seq=seq)
        house.clock.advance(60)
    with pytest.raises(RateLimited) as refused:
        await house.call(bert, "message.report", conversation=room, seq=said[20])
    assert refused.value.limit == 20
    assert refused.value.retry_after == 3600 - 20 * 60
    with pytest.raises(RateLimited):
        await house.call(bert, "user.report", user=ada)
    await house.call(bert, "message.report", conversation=room, seq=said[0])
    house.clock.advance(refused.value.retry_after + 1)
    await house.call(bert, "message.report", conversation=room, seq=said[20])
    assert await count(house) == 21


async def close_all(house: House) -> None:
    boss = "console:me"
    rooms: Any = house.rooms.admin.reports
    from chat_server.admin.reports import CloseReport, ListReports

    for each in (await rooms.list(boss, ListReports())).reports:
        await rooms.close(boss, CloseReport(report=each.report))


async def is_open(house: House) -> bool:
    return bool(await house.rows(select(report).where(report.c.closed_at.is_(None))))


async def test_a_closed_report_is_opened_again_by_what_was_changed_since(house: House) -> None:
    ada, bert = await house.users("ada", "bert")
    room = await house.group(ada, bert)
    seq = (await house.say(ada, room))["seq"]
    about = {"conversation": room, "seq": seq}
    made = await house.call(bert, "message.report", **about)
    house.clock.advance(1)
    await close_all(house)
    assert await house.call(bert, "message.report", **about) == made
    assert not await is_open(house), "nothing has changed since"
    house.clock.advance(1)
    await house.call(ada, "message.edit", **about, body={"text": "much worse"})
    assert await house.call(bert, "message.report", **about) == made
    assert await is_open(house)
    assert await count(house) == 1


async def test_a_user_is_reported(house: House) -> None:
    ada, bert = await house.users("ada", "bert")
    made = await house.call(bert, "user.report", user=ada, category="spam", reason="sells things")
    assert await house.call(bert, "user.report", user=ada) == made
    for wrong, error in ((bert, Conflict), ("nobody", NotFound)):
        with pytest.raises(error):
            await house.call(bert, "user.report", user=wrong)
    (row,) = await house.rows(select(report))
    assert (row.about, row.conversation, row.seq, row.category) == (ada, "", 0, "spam")


async def test_closed_reports_are_forgotten_in_time_and_open_ones_are_not(house: House) -> None:
    ada, bert = await house.users("ada", "bert")
    await house.call(bert, "user.report", user=ada)
    await close_all(house)
    await house.call(ada, "user.report", user=bert)
    house.clock.advance(180 * 86_400 - 10)
    forget = lambda connection: forget_reports(connection, house.clock.wall_ms(), 180)  # noqa: E731
    assert await house.database.change(forget) == 0
    house.clock.advance(20)
    await house.rooms.tidy()
    (left,) = await house.rows(select(report))
    assert left.about == bert
