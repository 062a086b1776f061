"""What the JSON text of a client may not hold, found without decoding it where nothing looks suspicious."""

from __future__ import annotations

import json
import re
from typing import Any

_TOKEN = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|[\[\]{}]', re.DOTALL)
"""A string that is never closed is one token too: were it none, every quote in it would be tried as a beginning."""
_ESCAPE = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")


def too_deep(data: bytes, limit: int) -> bool:
    """Whether the brackets of ``data``, outside of strings, nest deeper than ``limit``."""
    if len(data) <= limit or data.count(b"[") + data.count(b"{") <= limit:
        return False
    depth = 0
    for token in _TOKEN.finditer(data):
        first = data[token.start()]
        if first in b"[{":
            depth += 1
            if depth > limit:
                return True
        elif first in b"]}":
            depth -= 1
    return False


def bad_text(data: bytes) -> bool:
    """Whether a string of this JSON holds U+0000 or a lone surrogate; both can only hide in an escape."""
    if b"\\" not in data or _ESCAPE.search(data) is None:
        return False
    try:
        return _has_bad_text(_loads(data))
    except (ValueError, RecursionError):
        return False  # No JSON: whoever decodes it says so.


def _loads(data: bytes) -> Any:
    """JSON as Python takes it, but for the numbers: Python refuses very long ones, and here none matters."""
    return json.loads(data, parse_int=lambda digits: 0)


def _has_bad_text(value: Any) -> bool:
    if isinstance(value, str):
        return "\0" in value or not _encodable(value)
    if isinstance(value, list):
        return any(map(_has_bad_text, value))
    if isinstance(value, dict):
        return any(map(_has_bad_text, value)) or any(map(_has_bad_text, value.values()))
    return False


def ref_of(data: bytes) -> str | None:
    """The ``ref`` of a JSON object that was refused: a string of 1-64, else None. Deep nesting does no harm."""
    try:
        value = _loads(data)
    except RecursionError:
        return _shallow_ref(data)
    except ValueError:
        return None
    return _usable(value.get("ref")) if isinstance(value, dict) else None


def _shallow_ref(data: bytes) -> str | None:
    depth, last, found = 0, b"", None
    for token in _TOKEN.finditer(data):
        text = token.group()
        if text in (b"[", b"{"):
            depth += 1
        elif text in (b"]", b"}"):
            depth -= 1
        elif depth == 1:
            if last == b'"ref"':
                found = _usable(_text_of(text))
            last = text if data[token.end() : token.end() + 8].lstrip().startswith(b":") else b""
    return found if data.lstrip().startswith(b"{") else None


def _text_of(token: bytes) -> Any:
    try:
        return json.loads(token)
    except ValueError:
        return None


def _usable(ref: Any) -> str | None:
    return ref if isinstance(ref, str) and 1 <= len(ref) <= 64 and _encodable(ref) else None


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
