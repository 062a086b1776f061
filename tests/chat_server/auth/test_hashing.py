"""Turns at the hasher: shares by address, order, and what a caller leaves behind who goes away."""

from __future__ import annotations

import asyncio

import pytest
from argon2 import PasswordHasher
from argon2.exceptions import VerifyMismatchError
from chat_common.errors import Unavailable
from chat_server.auth.hashing import Hasher, Turns

BAD, GOOD = "192.0.2.66", "198.51.100.7"


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_who_floods_waits_behind_himself() -> None:
    turns, order = Turns(at_once=1, waiting=64, share=8), list[str]()
    await turns.take(BAD)

    async def work(address: str) -> None:
        await turns.take(address)
        order.append(address)

    tasks = [asyncio.create_task(work(BAD)) for _ in range(8)]
    await settled()
    tasks.append(asyncio.create_task(work(GOOD)))
    await settled()
    turns.give_back()
    await settled()
    turns.give_back()
    await settled()
    assert order == [BAD, GOOD], "the second turn is another address's, not the next of eight"
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_an_address_has_a_share_and_the_queue_an_end() -> None:
    turns = Turns(at_once=1, waiting=10, share=8)
    await turns.take(BAD)
    waiting = [asyncio.create_task(turns.take(BAD)) for _ in range(8)]
    await settled()
    with pytest.raises(Unavailable) as refused:
        await turns.take(BAD)
    assert refused.value.retry_after
    waiting += [asyncio.create_task(turns.take(GOOD)) for _ in range(2)]
    await settled()
    assert turns.waiting == 10
    with pytest.raises(Unavailable):
        await turns.take("203.0.113.1")
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert turns.waiting == 0
    turns.give_back()
    await turns.take(BAD)


async def test_a_v6_network_is_one_address() -> None:
    turns = Turns(at_once=1, waiting=64, share=2)
    await turns.take(None)
    waiting = [asyncio.create_task(turns.take(f"2001:db8::{number}")) for number in range(2)]
    await settled()
    with pytest.raises(Unavailable):
        await turns.take("2001:db8::ffff")
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_a_turn_that_comes_to_somebody_who_has_just_gone_goes_on() -> None:
    turns = Turns(at_once=1)
    await turns.take(BAD)
    gone, next_one = asyncio.create_task(turns.take(BAD)), asyncio.create_task(turns.take(GOOD))
    await settled()
    turns.give_back()
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    async with asyncio.timeout(1):
        await next_one


async def test_no_hash_is_no_password_and_costs_the_same() -> None:
    hasher = Hasher()
    kept = await hasher.hash("correct horse")
    assert await hasher.verify(kept, "correct horse", BAD)
    assert not await hasher.verify(kept, "wrong horse", BAD)
    assert not await hasher.verify(None, "correct horse", BAD)
    assert not await hasher.verify("rubbish", "correct horse", BAD)
    assert hasher._decoy.split("$")[:4] == kept.split("$")[:4]


def test_a_start_hashes_nothing_and_the_decoy_is_a_hash_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def hash(self: PasswordHasher, password: str | bytes, *, salt: bytes | None = None) -> str:
        raise AssertionError("0.1 s of a start")

    monkeypatch.setattr(PasswordHasher, "hash", hash)
    hasher, other = Hasher(), Hasher()
    assert hasher._decoy != other._decoy
    assert not hasher.is_outdated(hasher._decoy), "it has today's parameters"
    # Another answer than "this is no hash" comes only after all the work.
    with pytest.raises(VerifyMismatchError):
        PasswordHasher().verify(hasher._decoy, "correct horse")
