"""Plain data as records: null is as absent at every depth, the same for bodies of messages and for frames."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import define
from chat_common.codec.json import JsonCodec
from chat_common.errors import Invalid
from chat_common.validation import convert
from msgspec import UNSET, UnsetType


@define(kw_only=True)
class Inner:
    name: str | UnsetType = UNSET


@define(kw_only=True)
class Outer:
    text: str
    inner: Inner | UnsetType = UNSET
    free: Any = UNSET


@pytest.mark.parametrize("read", [convert, JsonCodec().decode])
def test_null_is_as_absent_at_every_depth(read: Any) -> None:
    assert read({"text": "a", "inner": None}, Outer) == Outer(text="a")
    assert read({"text": "a", "inner": {"name": None}}, Outer) == Outer(text="a", inner=Inner())
    with pytest.raises(Invalid) as refused:
        read({"text": None}, Outer)
    assert refused.value.field == "text"


@pytest.mark.parametrize("read", [convert, JsonCodec().decode])
def test_null_stands_where_anything_may(read: Any) -> None:
    assert read({"text": "a", "free": {"x": None}}, Outer).free == {"x": None}
