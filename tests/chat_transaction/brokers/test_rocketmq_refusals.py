"""Which answers of RocketMQ are final: the client's own exceptions, with codes and texts as 5.4.0 gives them."""

from __future__ import annotations

import pytest
from chat_transaction.brokers.rocketmq_refusals import refused
from rocketmq.v5 import exception  # type: ignore[import-untyped]

ILLEGAL = "org.apache.rocketmq.proxy.common.ProxyException: the message is illegal, maybe msg body or properties length"


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (exception.PayloadTooLargeException("message body cannot exceed the max 4194304", 41301), "record"),
        (exception.InternalErrorException(ILLEGAL, 50001), "record"),
        (exception.BadRequestException("the max delay time of message is too large, max is 86400000", 40012), "record"),
        (exception.RequestHeaderFieldsTooLargeException("too many properties", 43101), "record"),
        (exception.IllegalArgumentException("Message body size exceeds the threshold, max size=4194304"), "record"),
        (exception.IllegalArgumentException("current message type not match, topic:chat-a"), "topic"),
        (exception.NotFoundException("No topic route info in name server", 40402), "topic"),
        (exception.ForbiddenException("not permitted", 40300), "topic"),
        (exception.BadRequestException("wrong type", 40014), "topic"),
    ],
)
async def test_refused_for_good(error: Exception, fault: str) -> None:
    found = await refused(error, "chat-a", None)
    assert found is not None
    assert found[0] == fault
    assert type(error).__name__ in found[1]


@pytest.mark.parametrize(
    "error",
    [
        exception.InternalErrorException("system error", 50001),
        exception.ProxyTimeoutException("timeout", 50400),
        exception.TooManyRequestsException("busy", 42900),
        exception.UnauthorizedException("wrong key", 40100),
        exception.BadRequestException("something", 40000),
        OSError("no route to host"),
        TimeoutError(),
    ],
)
async def test_may_pass(error: Exception) -> None:
    assert await refused(error, "chat-a", None) is None
