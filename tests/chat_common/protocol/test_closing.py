"""The close codes mean what the protocol page says."""

from __future__ import annotations

import pytest
from chat_common.protocol.closing import CloseCode, reconnect_of


@pytest.mark.parametrize(
    ("codes", "reconnect"),
    [
        ((4000, 4001, 4002, 4008, 4009, 1001, 1006, 1011), "resume"),
        ((4100, 4101), "sync"),
        ((4400, 4401, 4403, 4409), "never"),
    ],
)
def test_which_codes_invite_back(codes: tuple[int, ...], reconnect: str) -> None:
    assert {reconnect_of(code) for code in codes} == {reconnect}


def test_every_code_is_in_the_table() -> None:
    assert sorted(CloseCode) == [4000, 4001, 4002, 4008, 4009, 4100, 4101, 4400, 4401, 4403, 4409]
