"""Limits of pictures and what is made of them, apart from what reads them: only its process imports Pillow."""

from __future__ import annotations

from typing import Annotated

from attrs import frozen
from chat_common.settings import setting
from msgspec import Meta


@frozen(kw_only=True)
class PictureSettings:
    """Limits and sizes of pictures, in pixels."""

    small: Annotated[int, Meta(ge=16, le=1024)] = setting(320, help="Longer side of the small thumbnail.")
    large: Annotated[int, Meta(ge=16, le=4096)] = setting(1280, help="Longer side of the large one.")
    max_side: Annotated[int, Meta(ge=1)] = setting(16_384, help="Longest side of a picture that is taken.")
    max_pixels: Annotated[int, Meta(ge=1)] = setting(
        50_000_000, help="Most pixels of a picture that is taken; it is decoded in memory, 4 bytes each."
    )
    quality: Annotated[int, Meta(ge=1, le=95)] = setting(80, help="JPEG and WebP quality of thumbnails.")


UNREADABLE = "file: This file is not a readable picture."


@frozen
class Encoded:
    """A picture as bytes."""

    data: bytes
    type: str


@frozen
class Picture:
    """What came out: sizes as shown (turned upright), the content for others, and thumbnails.

    ``large`` is None when the picture itself is no larger. ``digest``: a SHA-256 of all that was made.
    """

    width: int
    height: int
    animated: bool
    content: bytes
    small: Encoded
    large: Encoded | None
    digest: str
