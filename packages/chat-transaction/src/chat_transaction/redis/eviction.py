"""Whether Redis may throw away what it was given."""

from __future__ import annotations

from chat_common.errors import Unavailable
from chat_common.settings import SetupError
from redis.asyncio import Redis
from redis.exceptions import RedisError


async def eviction(client: Redis, what: str) -> str | None:
    """What is wrong when it may, and ``what`` would lose something; None when it may not. `Unavailable` when Redis does
    not answer."""
    try:
        memory = await client.info("memory")
    except (RedisError, OSError) as error:
        raise Unavailable(f"Redis does not answer: {error}") from error
    policy = memory.get("maxmemory_policy", "noeviction")
    if not int(memory.get("maxmemory", 0)) or policy == "noeviction":
        return None
    return f"Redis has the maxmemory-policy {policy}. Set it to noeviction, or {what} loses what it was given."


async def refuse_eviction(client: Redis, what: str) -> None:
    """`SetupError` when it may."""
    if (wrong := await eviction(client, what)) is not None:
        raise SetupError(wrong)
