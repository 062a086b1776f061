"""Message kinds that carry a file. Clients name the file and what only they know; facts are filled in by the server."""

from __future__ import annotations

from typing import Annotated

from attrs import define
from chat_common.records import ContentKind
from chat_common.wire import Count, Id
from msgspec import UNSET, Meta, UnsetType

Caption = Annotated[str, Meta(min_length=1, max_length=1024, pattern=r"\S")]
Duration = Annotated[int, Meta(ge=1, le=4 * 3600 * 1000)]
Level = Annotated[int, Meta(ge=0, le=255)]
Side = Annotated[int, Meta(ge=1, le=16_384)]


@define(kw_only=True)
class FileBody:
    """``name``, ``type``, ``size`` (bytes): the server's, whatever the client says."""

    file: Id
    name: str | UnsetType = UNSET
    type: str | UnsetType = UNSET
    size: Count | UnsetType = UNSET
    text: Caption | UnsetType = UNSET


@define(kw_only=True)
class ImageBody(FileBody):
    """``width``, ``height`` in pixels, upright, and ``animated``: the server's."""

    width: Side | UnsetType = UNSET
    height: Side | UnsetType = UNSET
    animated: bool | UnsetType = UNSET


@define(kw_only=True)
class VoiceBody(FileBody):
    """``duration`` in ms and ``levels`` (loudness over time, for drawing): the sender's, checked for sanity."""

    duration: Duration
    levels: Annotated[list[Level], Meta(max_length=100)] | UnsetType = UNSET


@define(kw_only=True)
class VideoBody(FileBody):
    """``duration`` in ms, ``width``, ``height``: the sender's; ``poster``: a finished picture of the sender's."""

    duration: Duration
    width: Side | UnsetType = UNSET
    height: Side | UnsetType = UNSET
    poster: Id | UnsetType = UNSET


def _caption(body: FileBody) -> str:
    return body.text or ""


def _name(body: FileBody) -> str:
    return body.name or ""


def _words(body: FileBody) -> str:
    return " ".join(part for part in (body.name, body.text) if part)


KINDS = (
    ContentKind("image", ImageBody, _caption, searchable=_caption),
    ContentKind("file", FileBody, _name, searchable=_words),
    ContentKind("voice", VoiceBody, _caption),
    ContentKind("video", VideoBody, _caption, searchable=_caption),
)
