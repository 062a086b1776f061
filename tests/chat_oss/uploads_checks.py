"""What every table of files promises, checked on the table alone."""

from __future__ import annotations

import secrets

import pytest
from attrs import evolve
from chat_common.errors import Conflict, NotFound, RateLimited
from chat_oss.leftovers import Leftovers
from chat_oss.quota import Quota
from chat_oss.upload import GRACE_MS, Finished, Upload
from chat_oss.uploads import Uploads

AMPLE = Quota(files=1_000, bytes=10**12)


def upload(user: str, conversation: str, now: int, size: int = 100) -> Upload:
    file = secrets.token_hex(8)
    return Upload(
        file=file,
        user=user,
        conversation=conversation,
        name="a.bin",
        type="application/octet-stream",
        size=size,
        state="begun",
        expires_at=now + 3_600_000,
        staging=f"upload/{file}",
    )


async def check_two_tries_hold_what_they_write(
    uploads: Uploads, leftovers: Leftovers, user: str, conversation: str, now: int
) -> None:
    """Of one upload, in two processes: what the slower one writes is known until it is deleted."""
    mine = upload(user, conversation, now)
    await uploads.begin(mine, AMPLE, now)
    slow, quick = secrets.token_hex(8), secrets.token_hex(8)
    done = Finished(file=mine.file, ref="r", content=quick, type=mine.type, size=100)
    await uploads.reserve(mine.staging, slow, now)
    await uploads.reserve(mine.staging, quick, now + 1)
    assert await leftovers.mark_unused(now + 2, 100) == []
    kept = await uploads.finish(done, None, now + 3)
    assert kept == quick
    assert await leftovers.mark_unused(now + 4, 100) == []  # it is still being written
    with pytest.raises(Conflict):
        await uploads.finish(evolve(done, ref="other", content=slow), None, now + 5)
    assert await leftovers.mark_unused(now + GRACE_MS + 1, 100) == [slow]
    await leftovers.forget([slow])
    assert await leftovers.mark_unused(now + 2 * GRACE_MS, 100) == []
    assert (await uploads.own(user, mine.file)).content == quick


async def check_a_begin_that_failed_costs_nothing(
    uploads: Uploads, leftovers: Leftovers, user: str, conversation: str, now: int
) -> None:
    quota = Quota(files=2, bytes=250)
    for _ in range(5):
        failed = upload(user, conversation, now)
        await uploads.begin(failed, quota, now)
        await uploads.undo(failed, now)
        await uploads.undo(failed, now)
        with pytest.raises(NotFound):
            await uploads.own(user, failed.file)
    for _ in range(2):
        await uploads.begin(upload(user, conversation, now), quota, now)
    with pytest.raises(RateLimited):
        await uploads.begin(upload(user, conversation, now), quota, now)


CHECKS = [check_two_tries_hold_what_they_write, check_a_begin_that_failed_costs_nothing]
