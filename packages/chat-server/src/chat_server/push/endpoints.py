"""Where subscriptions may lead. A stranger writes them, and this server then calls what stands in them."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Collection
from typing import Any
from urllib.parse import urlsplit

from attrs import frozen
from cachetools import TTLCache
from chat_common.clock import Clock
from chat_common.errors import Invalid

LONGEST = 2_048
LOOKED_UP = 300.0
"""Seconds for which what a name resolves to is believed."""


@frozen
class Endpoint:
    """``url`` is what is called; ``origin`` its scheme, host and port."""

    url: str
    host: str
    origin: str


class Endpoints:
    """The push services of the settings. ``internal`` lets everything through that is some HTTP address."""

    def __init__(self, services: Collection[str], clock: Clock, *, internal: bool = False) -> None:
        self._exact = {name.lower() for name in services if not name.startswith("*.")}
        self._below = tuple(name[1:].lower() for name in services if name.startswith("*."))
        self._internal = internal
        self._outside: TTLCache[str, bool] = TTLCache(1_000, LOOKED_UP, timer=clock.monotonic)

    def read(self, given: Any) -> Endpoint:
        """The endpoint; `Invalid` (field ``address``) where no subscription of a known service leads there."""
        if not isinstance(given, str) or not given.isascii() or not given.isprintable() or " " in given:
            raise _invalid("address.endpoint: The address of a push service is expected.")
        if len(given) > LONGEST:
            raise Invalid(
                f"address.endpoint: An address has at most {LONGEST} characters.", field="address", limit=LONGEST
            )
        try:
            parts = urlsplit(given)
            port = parts.port
        except ValueError:
            raise _invalid("address.endpoint: The address of a push service is expected.") from None
        host = (parts.hostname or "").rstrip(".")
        if not host or parts.username is not None or parts.password is not None or "\\" in given:
            raise _invalid("address.endpoint: The address of a push service is expected.")
        if not self._internal:
            if parts.scheme != "https" or port not in (None, 443):
                raise _invalid("address.endpoint: The address must begin with https:// and name no port.")
            if host not in self._exact and not host.endswith(self._below):
                raise _invalid(f"address.endpoint: {host} is not one of the push services of this server.")
        elif parts.scheme not in ("http", "https"):
            raise _invalid("address.endpoint: The address must begin with https://.")
        return Endpoint(given, host, f"{parts.scheme}://{parts.netloc}")

    async def leads_outside(self, endpoint: Endpoint) -> bool:
        """Whether its name stands for public addresses alone. A name of the list may still be made to lead inside, by
        whoever answers for it. Raises `OSError` where the name cannot be looked up."""
        if self._internal:
            return True
        known = self._outside.get(endpoint.host)
        if known is None:
            loop = asyncio.get_running_loop()
            found = await loop.getaddrinfo(endpoint.host, 443)
            known = bool(found) and all(ipaddress.ip_address(each[4][0]).is_global for each in found)
            self._outside[endpoint.host] = known
        return known


def _invalid(message: str) -> Invalid:
    return Invalid(message, field="address")
