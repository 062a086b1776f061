"""How Redis is reached: one server, or the primary that Sentinels name, with TLS or without."""

from __future__ import annotations

import ssl
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from chat_common.settings import SetupError
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff

from chat_transaction.settings import RedisSettings

_SCHEMES = ("redis", "rediss", "redis+sentinel", "rediss+sentinel")
_CONNECT = 2.0
"""Seconds to connect, to Redis or to a Sentinel."""


def connect(settings: RedisSettings, *, connections: int, timeout: float, retries: int | None = None) -> Redis:
    """A client that has not connected yet; close it with `disconnect`. ``timeout`` (seconds) is for an answer,
    ``connections`` how many are open at most; with ``retries`` 0 a command is sent once and never again (None: as the
    client library does). `SetupError` for an address that cannot be one."""
    options: dict[str, Any] = {
        "socket_connect_timeout": min(_CONNECT, timeout),
        "socket_timeout": timeout,
        "health_check_interval": 15,
        **({} if retries is None else {"retry": Retry(NoBackoff(), retries)}),
    }
    address = _split(settings.url)
    if not address.scheme.endswith("+sentinel"):
        if address.scheme == "rediss":
            options |= _tls(settings)
        pool = BlockingConnectionPool.from_url(settings.url, max_connections=connections, timeout=5, **options)
        return Redis(connection_pool=pool)
    hosts, name, database = _sentinels(address)
    if address.username or address.password:
        options |= {"username": unquote(address.username or "") or None, "password": unquote(address.password or "")}
    secure = {"ssl": True, **_tls(settings)} if address.scheme == "rediss+sentinel" else {}
    # Sentinels are asked at each new connection, and a server that is no primary any more is left at once.
    asking = {"socket_connect_timeout": min(_CONNECT, timeout), "socket_timeout": min(_CONNECT, timeout), **secure}
    if settings.sentinel_password:
        asking |= {"username": settings.sentinel_user or None, "password": settings.sentinel_password}
    more = {"db": database, "max_connections": connections, **options, **secure}
    sentinel = Sentinel(hosts, sentinel_kwargs=asking, **more)  # type: ignore[no-untyped-call]
    return sentinel.master_for(name)  # type: ignore[no-any-return]


async def disconnect(client: Redis) -> None:
    await client.aclose()
    await client.connection_pool.disconnect()


def _split(url: str) -> SplitResult:
    address = urlsplit(url)
    if address.scheme not in _SCHEMES or not address.netloc:
        # The address itself may hold a password, so it is not shown.
        schemes = ", ".join(_SCHEMES)
        raise SetupError(f"The address of Redis begins with {address.scheme!r}; use {schemes}, then :// and a host.")
    return address


def _sentinels(address: SplitResult) -> tuple[list[tuple[str, int]], str, int]:
    """Their hosts and ports, the name of the primary, the number of the database."""
    hosts = []
    for each in address.netloc.rpartition("@")[2].split(","):
        host, _, port = each.rpartition(":") if not each.endswith("]") and ":" in each else (each, "", "26379")
        if not host or not port.isdecimal():
            raise SetupError(f"The Sentinel {each!r} in the address of Redis is not a host and a port.")
        hosts.append((host.strip("[]"), int(port)))
    name, _, database = address.path.strip("/").partition("/")
    if not name or not (database or "0").isdecimal():
        raise SetupError(
            "The address of Sentinels ends with the name of the primary: redis+sentinel://host:port/name/0."
        )
    return hosts, name, int(database or 0)


def _tls(settings: RedisSettings) -> dict[str, Any]:
    return {
        "ssl_cert_reqs": ssl.CERT_REQUIRED,
        "ssl_check_hostname": True,
        "ssl_ca_certs": settings.ca_file or None,
        "ssl_certfile": settings.cert_file or None,
        "ssl_keyfile": settings.key_file or settings.cert_file or None,
    }
