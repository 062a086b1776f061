"""The mode in which answers come late names methods that exist, delays what they return, and changes nothing else."""

from __future__ import annotations

import pytest

from tests.support import lateness
from tests.support.lateness import PLACES, Late


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.name)
def test_each_place_names_methods_that_exist(place: Late) -> None:
    assert list(place.found())


async def test_an_answer_is_the_same_and_late(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(lateness.asyncio, "sleep", sleep)

    async def answer(a: int, *, b: int) -> int:
        assert slept == []
        return a + b

    assert await lateness._late(answer, 0.06, 1.0)(1, b=2) == 3
    assert len(slept) == 1
    assert 0 <= slept[0] <= 0.06
    slept.clear()
    assert await lateness._late(answer, 0.06, 0.0)(1, b=2) == 3
    assert slept == []
