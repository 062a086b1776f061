"""What RocketMQ and its client raise when a message is sent: refused for good, or only for now."""

from __future__ import annotations

import asyncio
from typing import Any, Literal

Fault = Literal["record", "topic"]

_ILLEGAL_TOPIC = 40002
_ILLEGAL_MESSAGE = {40004, 40005, 40006, 40007, 40009, 40012, 40016}
_WRONG_TYPE = 40014
_RECORD = {"PayloadTooLargeException", "PayloadEmptyException", "RequestHeaderFieldsTooLargeException"}
_ILLEGAL = "the message is illegal"
"""How the proxy passes on what the broker behind it finds too large: as an internal error."""
_TOPIC = {"NotFoundException", "ForbiddenException"}


async def refused(error: Exception, topic: str, producer: Any) -> tuple[Fault, str] | None:
    """Where the fault lies and what is said of it; None when a later attempt may succeed.

    ``producer`` is asked once more for the topic where the client does not say why it has no route to it.
    """
    name, code = type(error).__name__, getattr(error, "code", None)
    reason = f"RocketMQ says {name}: {error}"
    if name in _RECORD or code in _ILLEGAL_MESSAGE or _ILLEGAL in str(error):
        return "record", reason
    if name in _TOPIC or code in (_ILLEGAL_TOPIC, _WRONG_TYPE):
        return "topic", reason
    if name == "IllegalArgumentException":
        # The client itself, before it asks anybody: the name or the type of the topic, else the size of the body.
        return ("topic" if "topic" in str(error) else "record"), reason
    if type(error) is Exception and "route" in str(error) and await _is_missing(topic, producer):
        return "topic", f"RocketMQ has no topic {topic!r}"
    return None


async def _is_missing(topic: str, producer: Any) -> bool:
    """Whether the broker answers that there is no such topic (and not: does not answer)."""
    from rocketmq.grpc_protocol import Code, QueryRouteRequest  # type: ignore[import-untyped]  # it has no types

    configuration = producer.client_configuration
    request = QueryRouteRequest()
    request.topic.name = topic
    request.topic.resource_namespace = configuration.namespace
    request.endpoints.CopyFrom(configuration.rpc_endpoints.endpoints)
    try:
        future = producer.rpc_client.query_topic_route_async(
            configuration.rpc_endpoints, request, metadata=producer.sign(), timeout=configuration.request_timeout
        )
        answer = await asyncio.wrap_future(future)
    except Exception:
        return False
    return answer.status.code in (Code.TOPIC_NOT_FOUND, Code.NOT_FOUND)
