"""Bad input as an error that names the field and the limit."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from chat_common.errors import Invalid

T = TypeVar("T")

# These read what msgspec says. It quotes a client's own text, so each is anchored to the beginning, where msgspec's own
# words stand: a search would go through the quotation again from every place, and could take it for msgspec's.
_LIMIT = re.compile(r"Expected `\w+`(?: of length)? (?:<=|>=|<|>) (?P<limit>-?\d{1,18})")
_MISSING = re.compile(r"(?:Object )?missing required field `(?P<name>[^`]+)`")
_AT = " - at `"
_QUOTED = 200
"""Characters of a reason that are told: what a client sent is not sent back in full."""
_PLAIN = (
    (re.compile(r"(?:Object )?missing required field `[^`]+`"), "is missing"),
    (
        re.compile(r"Expected `str` matching regex.*", re.DOTALL),
        "is empty or blank, or has characters that may not stand here",
    ),
    (re.compile(r"Expected `str` of length >= 1$"), "may not be empty"),
    (re.compile(r"Expected `str` of length <= (\d+)"), r"at most \1 characters"),
    (re.compile(r"Expected `str` of length >= (\d+)"), r"at least \1 characters"),
    (re.compile(r"Expected `array` of length <= (\d+)"), r"at most \1 entries"),
    (re.compile(r"Expected `array` of length >= (\d+)"), r"at least \1 entries"),
    (re.compile(r"Expected `(?:int|float)` <= (-?\d+)"), r"at most \1"),
    (re.compile(r"Expected `(?:int|float)` >= (-?\d+)"), r"at least \1"),
    (re.compile(r"Expected `(?:int|float)` < (-?\d+)"), r"less than \1"),
    (re.compile(r"Expected `(?:int|float)` > (-?\d+)"), r"more than \1"),
)
_TYPES = {"str": "text", "int": "a whole number", "float": "a number", "bool": "true or false", "array": "a list"}
_TYPE = re.compile(r"`(str|int|float|bool|array|object|null)(?: \| null)?`")


def in_plain_words(reason: str) -> str:
    """What msgspec says is wrong with a value, for a person who knows nothing of Python."""
    for pattern, words in _PLAIN:
        if pattern.match(reason):
            return pattern.sub(words, reason)
    plain = _TYPE.sub(lambda match: _TYPES.get(match[1], match[1]), reason)
    return plain[:1].lower() + plain[1:]


def named(limit: int) -> Any:
    """The type of a short text that may not be blank, at most ``limit`` code points."""
    return Annotated[str, Meta(min_length=1, max_length=limit, pattern=r"\S")]


def invalid_from(error: msgspec.ValidationError, prefix: str = "", *, what: str = "the request") -> Invalid:
    """What msgspec says, as `Invalid`: ``field`` is the path (``body.text``), ``limit`` the bound that was passed.

    ``what`` is named where no field is.
    """
    path, reason = _split(str(error))
    missing = _MISSING.match(reason)
    if missing is not None:
        path = f"{path}.{missing['name']}" if path else missing["name"]
    if prefix:
        path = f"{prefix}{path}" if path.startswith("[") else f"{prefix}.{path}" if path else prefix
    limit = _LIMIT.match(reason)
    if len(reason) > _QUOTED:
        reason = f"{reason[:_QUOTED]}…"
    return Invalid(
        f"{path or what}: {in_plain_words(reason)}",
        field=path or None,
        limit=None if limit is None else int(limit["limit"]),
    )


def _split(text: str) -> tuple[str, str]:
    """The path without ``$.``, and what is wrong there. Only the last place can be msgspec's own."""
    at = text.rfind(_AT)
    if at < 0 or not text.endswith("`"):
        return "", text
    path = text[at + len(_AT) : -1].removeprefix("key in ").removeprefix("$").removeprefix(".")
    return path, text[:at]


def convert(value: Any, kind: type[T], prefix: str = "") -> T:
    """``value`` (decoded JSON) as an instance of an attrs class; raises `Invalid` that names the field.

    A ``null`` for an optional field is as absent, at every depth.
    """
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError:
        try:
            return msgspec.convert(without_null(value), kind)
        except msgspec.ValidationError as error:
            raise invalid_from(error, prefix) from None


def without_null(value: Any) -> Any:
    """Plain data without the members of objects that are null."""
    if isinstance(value, Mapping):
        return {key: without_null(item) for key, item in value.items() if item is not None}
    if isinstance(value, list | tuple):
        return [without_null(item) for item in value]
    return value


def check_text(value: str, field: str, limit: int) -> str:
    """``value`` itself: 1 to ``limit`` characters that every database and broker can keep, else `Invalid`."""
    if not isinstance(value, str) or not value:
        raise Invalid(f"{field} is empty. Give 1 to {limit} characters.", field=field, limit=limit)
    if len(value) > limit:
        raise Invalid(f"{field} has {len(value)} characters. Give 1 to {limit}.", field=field, limit=limit)
    if "\0" in value or (not value.isascii() and any("\ud800" <= each <= "\udfff" for each in value)):
        raise Invalid(f"{field} contains a NUL or a lone surrogate, which cannot be stored.", field=field)
    return value


def exact_json(value: Any, field: str) -> bytes:
    """``value`` as JSON that reads back as it was; `Invalid` for what JSON cannot say (NaN, infinity, surrogates)."""
    try:
        encoded = msgspec.json.encode(value)
        where = _endless(msgspec.to_builtins(value), field)
    except (msgspec.MsgspecError, TypeError, ValueError, RecursionError) as error:
        raise Invalid(f"{field}: {error}", field=field) from error
    if where is not None:
        raise Invalid(f"{where}: JSON has no NaN and no infinity.", field=where)
    return encoded


def _endless(value: Any, where: str) -> str | None:
    """Where in plain data a number stands that is not finite."""
    if isinstance(value, float):
        return None if math.isfinite(value) else where
    if isinstance(value, dict):
        inside = [(f"{where}.{key}", each) for key, each in value.items()]
    elif isinstance(value, list | tuple | set | frozenset):
        inside = [(f"{where}[{number}]", each) for number, each in enumerate(value)]
    else:
        return None
    return next((found for path, each in inside if (found := _endless(each, path)) is not None), None)
