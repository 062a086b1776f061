"""Pauses double up to a cap, and no two that failed together come back together."""

from __future__ import annotations

import pytest
from chat_common.backoff import pause


@pytest.mark.parametrize(("attempt", "full"), [(1, 0.2), (2, 0.4), (5, 3.2), (9, 10.0), (2_000, 10.0)])
def test_half_of_a_pause_is_random(attempt: int, full: float) -> None:
    pauses = [pause(attempt, 0.2, 10.0) for _ in range(300)]
    assert all(full / 2 <= each <= full for each in pauses)
    assert len(set(pauses)) > 290, "who failed together must not come back together"
    assert max(pauses) - min(pauses) > full / 4, "the random part must be felt"
