"""Message kinds: what a body may hold, and its short form. Plugins add theirs by the hook ``chat_kinds``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from attrs import define, frozen
from chat_common.errors import Invalid
from chat_common.records import ContentKind
from chat_common.validation import convert
from chat_common.wire import Id
from msgspec import UNSET, Meta, UnsetType

from chat_server.im.markup import plain

PREVIEW_CHARS = 100


@define(kw_only=True)
class Entity:
    """A part of a text that means somebody: ``offset`` and ``length`` in code points, ``user`` an id or ``@all``.

    Who is told of a mention are the ``mentions`` of the message; this says where in the text each of them stands.
    """

    type: Literal["mention"]
    offset: Annotated[int, Meta(ge=0, le=8192)]
    length: Annotated[int, Meta(ge=1, le=8192)]
    user: Annotated[str, Meta(min_length=1, max_length=64)]


@define(kw_only=True)
class TextBody:
    """``format``: how marks in the text are to be read (``markup``); absent, they are what was typed."""

    text: Annotated[str, Meta(min_length=1, max_length=8192, pattern=r"\S")]
    format: Literal["markup"] | UnsetType = UNSET
    entities: Annotated[list[Entity], Meta(max_length=50)] | UnsetType = UNSET


@define(kw_only=True)
class EmojiBody:
    """One large emoji, or a sticker's name."""

    emoji: Annotated[str, Meta(min_length=1, max_length=64, pattern=r"\S")]


@define(kw_only=True)
class LocationBody:
    lat: Annotated[float, Meta(ge=-90, le=90)]
    lon: Annotated[float, Meta(ge=-180, le=180)]
    label: Annotated[str, Meta(min_length=1, max_length=200, pattern=r"\S")] | UnsetType = UNSET


@define(kw_only=True)
class CardBody:
    """Somebody's card: a user to get to know."""

    user: Id


@define(kw_only=True)
class SystemBody:
    event: str
    actor: str
    subjects: list[str]
    args: dict[str, Any]


def _said(body: TextBody) -> str:
    return plain(body.text) if body.format == "markup" else body.text


def _label(body: LocationBody) -> str:
    return body.label or ""


def _all_of_it(body: TextBody) -> str:
    return plain(body.text, chars=len(body.text)) if body.format == "markup" else body.text


BUILT_IN = (
    ContentKind("text", TextBody, _said, editable=True, searchable=_all_of_it),
    ContentKind("emoji", EmojiBody, lambda body: body.emoji),
    ContentKind("location", LocationBody, _label, searchable=_label),
    ContentKind("card", CardBody, lambda body: ""),
    ContentKind("system", SystemBody, lambda body: body.event, system=True),
)


@frozen
class Kinds:
    """The kinds of this server by name."""

    by_name: Mapping[str, ContentKind]

    def known(self, name: str) -> ContentKind:
        """A kind that a client may send; `Invalid` (field ``kind``) for unknown ones and those of the server alone."""
        kind = self.by_name.get(name)
        if kind is None or kind.system:
            raise Invalid(f"kind: {name!r} is not a kind that clients can send.", field="kind")
        return kind

    def read(self, name: str, body: Any) -> tuple[ContentKind, Any]:
        """The body as its class; `Invalid` names the field, for example ``body.text``."""
        kind = self.known(name)
        return kind, convert(body, kind.body, "body")

    def preview(self, name: str, body: Any) -> str:
        """The short form of a stored body (decoded JSON), at most 100 code points; empty for kinds now unknown."""
        kind = self.by_name.get(name)
        if kind is None:
            return ""
        try:
            return shorten(kind.preview(msgspec.convert(body, kind.body)))
        except msgspec.ValidationError:
            return ""  # stored under an older shape of this kind

    def searchable(self, name: str, body: Any) -> str | None:
        """What search finds of a stored body (decoded JSON); None for kinds, known or not, that have no such text."""
        kind = self.by_name.get(name)
        if kind is None or kind.searchable is None:
            return None
        try:
            return kind.searchable(msgspec.convert(body, kind.body))
        except msgspec.ValidationError:
            return None  # stored under an older shape of this kind


def shorten(text: str) -> str:
    """One line of at most 100 code points."""
    line = " ".join(text.split()) if len(text) < 4 * PREVIEW_CHARS else " ".join(text[: 4 * PREVIEW_CHARS].split())
    return line if len(line) <= PREVIEW_CHARS else line[: PREVIEW_CHARS - 1] + "…"
