"""Bad input as an error that names the field and the limit."""

from __future__ import annotations

import re
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from chat_common.errors import Invalid

T = TypeVar("T")

_WHERE = re.compile(r" - at `\$?\.?(?P<path>.*)`$")
_LIMIT = re.compile(r"(?:<=|>=|<|>) (?P<limit>-?\d+)")
_MISSING = re.compile(r"missing required field `(?P<name>[^`]+)`")


def named(limit: int) -> Any:
    """The type of a short text that may not be blank, at most ``limit`` code points."""
    return Annotated[str, Meta(min_length=1, max_length=limit, pattern=r"\S")]


def invalid_from(error: msgspec.ValidationError, prefix: str = "") -> Invalid:
    """What msgspec says, as `Invalid`: ``field`` is the path (``body.text``), ``limit`` the bound that was passed."""
    text = str(error)
    where = _WHERE.search(text)
    path = "" if where is None else where["path"]
    reason = text if where is None else text[: where.start()]
    missing = _MISSING.search(reason)
    if missing is not None:
        path = f"{path}.{missing['name']}" if path else missing["name"]
    if prefix:
        path = f"{prefix}{path}" if path.startswith("[") else f"{prefix}.{path}" if path else prefix
    if "matching regex" in reason:
        reason = "empty or blank, or with characters that may not stand here"
    limit = _LIMIT.search(reason)
    return Invalid(
        f"{path or 'the request'}: {reason[0].lower()}{reason[1:]}",
        field=path or None,
        limit=None if limit is None else int(limit["limit"]),
    )


def convert(value: Any, kind: type[T], prefix: str = "") -> T:
    """``value`` (decoded JSON) as an instance of an attrs class; raises `Invalid` that names the field.

    A ``null`` for an optional field is as absent.
    """
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise invalid_from(error, prefix) from None
