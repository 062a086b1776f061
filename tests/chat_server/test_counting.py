"""Addresses are counted by what a stranger can have many of."""

from __future__ import annotations

import pytest
from chat_common.clock import ManualClock
from chat_common.memory.cache import MemoryCache
from chat_common.memory.rates import Rates
from chat_server.counting import allow_address, allow_address_everywhere, counted_as


@pytest.mark.parametrize(
    ("address", "names"),
    [
        ("192.0.2.7", [("192.0.2.7", 1)]),
        ("::ffff:192.0.2.7", [("192.0.2.7", 1)]),
        ("2001:db8:1:2:3:4:5:6", [("2001:db8:1:2::/64", 1), ("2001:db8:1::/48", 10)]),
        ("fe80::1%eth0", [("fe80::/64", 1), ("fe80::/48", 10)]),
        ("x" * 1_000, [("x" * 64, 1)]),
    ],
)
def test_an_address_counts_as_its_network(address: str, names: list[tuple[str, int]]) -> None:
    assert list(counted_as(address)) == names


async def test_a_64_has_the_limit_and_a_48_ten_times_it() -> None:
    clock = ManualClock()
    rates, cache = Rates(clock), MemoryCache(clock)

    async def allowed(address: str | None) -> bool:
        here = allow_address(rates, "x", address, 2, 60.0)
        everywhere = await allow_address_everywhere(cache, "x", address, 2, 60.0)
        assert (here == 0.0) == (everywhere == 0.0)
        return here == 0.0

    assert [await allowed(f"2001:db8:1:2::{host}") for host in range(4)] == [True, True, False, False]
    taken = [await allowed(f"2001:db8:1:{net:x}::1") for net in range(3, 40)]
    assert taken.count(True) == 18
    assert await allowed("2001:db8:2:1::1")
    assert all([await allowed(None) for _ in range(50)])
