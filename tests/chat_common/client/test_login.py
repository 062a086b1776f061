"""Commands over HTTP, and how their errors come back."""

from __future__ import annotations

from pathlib import Path

import pytest
from chat_common.client import connect, dev_login, post
from chat_common.client.login import error_of
from chat_common.errors import Internal, Invalid, NotAuthenticated, RateLimited, Unavailable
from chat_common.protocol.frames import Device

from tests.support.serving import in_process


async def test_logging_in_by_name_and_calling(tmp_path: Path) -> None:
    async with in_process(tmp_path) as (_, url):
        ann = await dev_login(url, "ann", device="laptop")
        assert ann.user.name == "ann"
        assert (await dev_login(url + "/", "ann")).user == ann.user
        assert (await post(url, "user.me", token=ann.token))["user"] == ann.user.user
        with pytest.raises(NotAuthenticated):
            await post(url, "user.me")
        with pytest.raises(Invalid) as refused:
            await post(url, "auth.dev", {"name": ""})
        assert refused.value.field == "name"
        async with connect(url, ann.token, device=Device("laptop", "python")) as client:
            assert client.state.me == ann.user


async def test_a_server_that_is_not_there_is_unavailable() -> None:
    with pytest.raises(Unavailable):
        await dev_login("http://127.0.0.1:9", "ann")


def test_errors_carry_their_details() -> None:
    error = error_of(429, b'{"code":"rate_limited","message":"slow down","retry_after":2.5}')
    assert isinstance(error, RateLimited)
    assert error.retry_after == 2.5
    assert isinstance(error_of(502, b"<html>"), Internal)
    assert isinstance(error_of(500, b'{"code":"of the future"}'), Internal)
