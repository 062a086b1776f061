"""The writer serves users in turn: a flood of one waits behind itself."""

from __future__ import annotations

import asyncio
from typing import Any

from chat_server.store.writer import BATCH, SHARE, BatchOutcome, Job, Writer, next_batch


def jobs(*users: str) -> list[Job]:
    loop = asyncio.new_event_loop()
    made = [Job(None, number, loop.create_future(), user) for number, user in enumerate(users)]
    loop.close()
    return made


def test_few_jobs_are_one_batch_in_their_order() -> None:
    waiting = jobs(*["ann"] * SHARE)
    assert next_batch(waiting) == (waiting, [])


def test_a_flood_gets_its_share_and_all_others_theirs() -> None:
    waiting = jobs(*["flood"] * 20_000, "bob", "cem", "cem")
    first, rest = next_batch(waiting)
    assert [job.by for job in first] == ["flood"] * SHARE + ["bob", "cem", "cem"]
    assert [job.item for job in first[:SHARE]] == list(range(SHARE))
    assert len(first) + len(rest) == len(waiting)


def test_users_are_served_in_turn_where_not_all_fit() -> None:
    waiting = jobs(*(f"user {number}" for number in range(BATCH) for _ in range(2)))
    first, rest = next_batch(waiting)
    assert len({job.by for job in first}) == BATCH
    assert len({job.by for job in next_batch(rest)[0]}) == BATCH


def test_each_user_s_jobs_stay_in_order_and_none_is_lost() -> None:
    waiting = jobs(*(f"user {number % 7}" for number in range(3_000)), *[""] * 600)
    seen: dict[str, list[int]] = {}
    rest = waiting
    while rest:
        batch, rest = next_batch(rest)
        assert len(batch) <= BATCH
        for job in batch:
            seen.setdefault(job.by, []).append(job.item)
    assert all(items == sorted(items) for items in seen.values())
    assert sum(map(len, seen.values())) == len(waiting)


async def test_one_call_beside_a_flood_waits_for_two_shares_at_most() -> None:
    done: list[str] = []

    async def run(batch: Any) -> BatchOutcome:
        await asyncio.sleep(0)
        done.extend(job.by for job in batch)
        return BatchOutcome([None] * len(batch))

    writer = Writer(run, lambda batch: [list(batch)])
    flood = [writer.put(None, number, "flood") for number in range(5_000)]
    await asyncio.sleep(0)
    await writer.put(None, 0, "bob")
    assert done.index("bob") <= 2 * SHARE
    await asyncio.gather(*flood)
    assert len(done) == 5_001
