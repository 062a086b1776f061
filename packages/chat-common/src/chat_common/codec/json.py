"""JSON over attrs classes and Structs, by msgspec."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec
from msgspec import Raw

from chat_common.codec import MAX_DEPTH, MAX_FRAMES
from chat_common.codec.text import bad_text, ref_of, too_deep
from chat_common.errors import Invalid
from chat_common.protocol.frames import SUBPROTOCOL, BadFrame, Call, ClientFrame, ClientNote, ServerFrame
from chat_common.validation import convert, invalid_from

T = TypeVar("T")

_encoder = msgspec.json.Encoder()
_client: msgspec.json.Decoder[ClientFrame] = msgspec.json.Decoder(ClientFrame)
_server: msgspec.json.Decoder[ServerFrame] = msgspec.json.Decoder(ServerFrame)
_list = msgspec.json.Decoder(list[Raw])
_any = msgspec.json.Decoder()

_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError)


def invalid_of(error: Exception, *, what: str = "the value") -> Invalid:
    """What msgspec objects to, as an `Invalid` whose ``field`` is the path without ``$.`` and whose ``limit`` is the
    bound that was broken."""
    if isinstance(error, RecursionError):
        return Invalid(f"JSON may be nested at most {MAX_DEPTH} deep", limit=MAX_DEPTH)
    if isinstance(error, UnicodeDecodeError):
        return Invalid("Text must be valid UTF-8, without lone surrogates.")
    if not isinstance(error, msgspec.ValidationError):
        return Invalid(f"{what} is not valid JSON: {error}")
    return invalid_from(error, what=what)


class JsonCodec:
    """The codec of ``chat.v1.json``."""

    subprotocol = SUBPROTOCOL
    binary = False

    encode: Callable[[Any], bytes] = staticmethod(_encoder.encode)

    def join(self, frames: Sequence[bytes]) -> bytes:
        return frames[0] if len(frames) == 1 else b"[" + b",".join(frames) + b"]"

    def client_frames(self, data: bytes) -> Sequence[ClientFrame | BadFrame]:
        if not data.lstrip(b" \t\r\n").startswith(b"["):
            return (_read(data),)
        try:
            raws = _list.decode(data)
        except RecursionError as error:
            return (BadFrame(invalid_of(error)),)
        except _UNREADABLE as error:
            apart = _apart(data)
            if apart is None:
                return (BadFrame(invalid_of(error, what="the message")),)
            raws = apart
        if not 1 <= len(raws) <= MAX_FRAMES:
            text = f"a message holds 1 to {MAX_FRAMES} frames, not {len(raws)}"
            return (BadFrame(Invalid(text, limit=MAX_FRAMES)),)
        return [_read(bytes(raw)) for raw in raws]

    def server_frames(self, data: bytes) -> Sequence[ServerFrame]:
        try:
            if not data.lstrip(b" \t\r\n").startswith(b"["):
                return (_server.decode(data),)
            raws = _list.decode(data)
        except msgspec.ValidationError:
            raws = [Raw(data)]
        except _UNREADABLE as error:
            raise invalid_of(error, what="the message") from None
        return [frame for raw in raws if (frame := _read_server(raw)) is not None]

    def decode(self, data: Any, kind: type[T]) -> T:
        if isinstance(data, Mapping):
            return convert(data, kind)
        text = bytes(data)
        if not text or text == b"null":
            text = b"{}"
        if bad_text(text):
            raise Invalid("Text may not contain U+0000 or lone surrogates.")
        try:
            value: T = _decoder(kind).decode(text)
            return value
        except msgspec.ValidationError as error:
            if b"null" not in text:
                raise invalid_of(error) from None
        except _UNREADABLE as error:
            raise invalid_of(error) from None
        try:
            # A value that does not fit may stand before text that is no JSON: then only this reads that far.
            plain = _any.decode(text)
        except _UNREADABLE as error:
            raise invalid_of(error) from None
        return convert(plain, kind)


_decoder: Callable[[Any], msgspec.json.Decoder[Any]] = functools.lru_cache(maxsize=1024)(msgspec.json.Decoder)


def _apart(data: bytes) -> list[Raw] | None:
    """The frames of a list that msgspec does not take for a string of one of them: that one alone is to be refused."""
    try:
        return [Raw(json.dumps(value).encode()) for value in json.loads(data)]
    except (ValueError, RecursionError):
        return None


def _read(data: bytes) -> ClientFrame | BadFrame:
    if too_deep(data, MAX_DEPTH):
        return BadFrame(Invalid(f"JSON may be nested at most {MAX_DEPTH} deep", limit=MAX_DEPTH), ref_of(data))
    if bad_text(data):
        return BadFrame(Invalid("Text may not contain U+0000 or lone surrogates."), ref_of(data))
    try:
        frame = _client.decode(data)
    except _UNREADABLE as error:
        return BadFrame(invalid_of(error, what="the frame"), ref_of(data))
    if b"null" in data:
        if type(frame) is Call and bytes(frame.params) == b"null":
            return Call(frame.ref, frame.command)
        if type(frame) is ClientNote and bytes(frame.data) == b"null":
            return ClientNote(frame.event)
    return frame


def _read_server(raw: Raw) -> ServerFrame | None:
    try:
        return _server.decode(raw)
    except msgspec.ValidationError as error:
        try:
            op = _any.decode(raw)
        except _UNREADABLE as broken:
            raise invalid_of(broken, what="the frame") from None
        if isinstance(op, dict) and op.get("op") not in SERVER_OPS:
            return None  # A client ignores what a later server says.
        raise invalid_of(error, what="the frame") from None


SERVER_OPS = frozenset({"welcome", "reply", "error", "push", "lagged", "note", "beat", "pong", "bye"})
