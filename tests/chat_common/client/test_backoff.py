from __future__ import annotations

import random

from chat_common.client import Backoff


def test_pauses_grow_are_bounded_and_jittered() -> None:
    backoff = Backoff(first=1, longest=8, random=random.Random(1))
    pauses = [backoff.next() for _ in range(50)]
    assert all(pause <= min(8, 2**n) for n, pause in enumerate(pauses))
    assert len({round(pause, 3) for pause in pauses}) > 40
    assert max(pauses) > 4
    backoff.reset()
    assert backoff.next() <= 1
