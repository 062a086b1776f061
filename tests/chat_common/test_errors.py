"""Errors on their way to a client and back."""

from __future__ import annotations

import msgspec
import pytest
from chat_common.client.login import error_of
from chat_common.errors import ChatError, RateLimited, error_types
from chat_common.protocol.frames import Error


def test_every_class_has_a_code_and_a_status_of_its_kind() -> None:
    kinds = error_types()
    assert len(kinds) >= 13
    for code, kind in kinds.items():
        assert kind.code == code
        assert 400 <= kind.status <= 503
        assert kind("").message == code


def test_absent_details_are_absent() -> None:
    assert ChatError("boom").as_dict() == {"code": "internal", "message": "boom"}
    error = RateLimited("slow down", field="text", limit=3, retry_after=0.5)
    assert error.as_dict() == {
        "code": "rate_limited", "message": "slow down", "field": "text", "limit": 3, "retry_after": 0.5,
    }  # fmt: skip


@pytest.mark.parametrize("kind", error_types().values(), ids=lambda kind: kind.code)
def test_what_a_client_reads_is_the_class_that_the_server_raised(kind: type[ChatError]) -> None:
    raised = kind("why", field="name", limit=7, details={"devices": ["d"]})
    back = error_of(kind.status, msgspec.json.encode(raised.as_dict()))
    assert type(back) is kind
    assert back.as_dict() == raised.as_dict()
    frame = Error.of(raised, "r1")
    assert (frame.code, frame.message, frame.field, frame.limit) == (kind.code, "why", "name", 7)
