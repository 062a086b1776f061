"""Under which names a stranger's address is counted, wherever addresses are counted."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from functools import lru_cache

from chat_common.memory.rates import Rates
from chat_common.ports.cache import Cache

WIDER = 10
"""How many times the limit of a /64 a whole /48 may use: the one is a household, the other a customer with many."""


@lru_cache(maxsize=10_000)
def counted_as(address: str) -> Sequence[tuple[str, int]]:
    """The names for counters, each with the multiple of the limit that it may use.

    An IPv4 address counts as itself, an IPv6 address as its /64 and, at ten times the limit, as its /48: whoever has
    one address there has 2**64 of them. An IPv4 address in IPv6 clothes is the IPv4 address.
    """
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return ((address[:64], 1),)
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is None:
            return tuple(
                (str(ipaddress.ip_network((int(found), size), strict=False)), times)
                for size, times in ((64, 1), (48, WIDER))
            )
        found = found.ipv4_mapped
    return ((str(found), 1),)


def allow_address(rates: Rates, name: str, address: str | None, limit: int, period: float, cost: int = 1) -> float:
    """Count a request of this address; 0.0, or the seconds to wait. None, which is this machine, is not counted."""
    for key, times in counted_as(address) if address is not None else ():
        wait = rates.allow(f"{name}:{key}", limit * times, period, cost)
        if wait:
            return wait
    return 0.0


async def allow_address_everywhere(cache: Cache, name: str, address: str | None, limit: int, period: float) -> float:
    """`allow_address` for what all nodes count together."""
    for key, times in counted_as(address) if address is not None else ():
        wait = await cache.allow(f"{name}:{key}", limit=limit * times, period=period)
        if wait:
            return wait
    return 0.0
