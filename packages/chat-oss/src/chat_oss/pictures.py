"""Pictures: measured, turned upright, freed of metadata, given thumbnails. Synchronous; see `chat_oss.converter`."""

from __future__ import annotations

import hashlib
import struct
from io import BytesIO
from typing import Any

from chat_common.errors import Invalid
from PIL import Image

from chat_oss.metadata import BadPicture, strip
from chat_oss.picture_settings import UNREADABLE, Encoded, Picture
from chat_oss.picture_settings import PictureSettings as PictureSettings

_FORMATS = {"image/jpeg": "JPEG", "image/png": "PNG", "image/gif": "GIF", "image/webp": "WEBP"}
_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_QUALITY = 90
_SCAN = b"\xff\xda"
"""Begins a scan of a JPEG; inside a scan these two bytes never follow each other."""
_SCANS = 200
"""Each is a pass over the whole picture, and may take a few bytes only; cameras make 10 at most."""


def process(data: bytes, type: str, settings: PictureSettings) -> Picture:
    """Read and convert a picture. `Invalid` (field ``file``, or ``size`` with the limit) when it cannot be taken."""
    try:
        return _process(data, type, settings)
    except Invalid:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):  # far above our own limit
        raise _too_many_pixels(settings) from None
    except (BadPicture, OSError, ValueError, SyntaxError, EOFError, TypeError) as error:
        # Pillow's readers raise all of these for broken files.
        raise Invalid(UNREADABLE, field="file") from error
    except (KeyError, IndexError, ArithmeticError, AssertionError, MemoryError, RuntimeError, struct.error) as error:
        raise Invalid(UNREADABLE, field="file") from error


def _process(data: bytes, type: str, settings: PictureSettings) -> Picture:
    stripped = strip(data, type)  # first: Pillow goes through any number of pieces
    image = Image.open(BytesIO(data), formats=[_FORMATS[type]])
    width, height = image.size
    _check_size(width, height, settings)
    if image.format in ("JPEG", "MPO") and data.count(_SCAN) > _SCANS:
        raise Invalid(
            f"file: A picture may be drawn in at most {_SCANS} scans. Save it anew, and send that.",
            field="file",
            limit=_SCANS,
        )
    # Several pictures of one moment (a phone's preview, its other lens) are no animation: the first is the picture.
    animated = image.format != "MPO" and bool(getattr(image, "is_animated", False))
    image.seek(0)
    turn = image.getexif().get(_ORIENTATION, 1)
    # An open picture holds up to three times its pixels, as its decoder does: it goes before more is made of them.
    if turn not in _TURNS or animated:
        content = stripped
        # JPEG is decoded at a fraction of its size already, when that is enough for the largest thumbnail.
        image.draft("RGB", (settings.large, settings.large))
        image.load()
        shown = _plain(image)
        del image
    else:
        if type == "image/webp" and image.mode == "RGBA":
            _check_turned_webp(width * height, settings)
        shown = image.transpose(_TURNS[turn])
        del image
        width, height = shown.size
        content = _encode_anew(shown, type)
        shown = _plain(shown)
    large = None
    if max(width, height) > settings.large:
        shown.thumbnail((settings.large, settings.large), Image.Resampling.LANCZOS, reducing_gap=2.0)
        large = _encode(shown, settings.quality)
    shown.thumbnail((settings.small, settings.small), Image.Resampling.LANCZOS, reducing_gap=2.0)
    small = _encode(shown, settings.quality)
    digests = [hashlib.sha256(data).hexdigest() for data in (content, small.data, large.data if large else b"")]
    digest = hashlib.sha256("".join(digests).encode()).hexdigest()
    return Picture(width, height, animated, content, small, large, digest)


def _check_size(width: int, height: int, settings: PictureSettings) -> None:
    if max(width, height) > settings.max_side:
        raise Invalid(
            f"size: No side of a picture may have more than {settings.max_side} pixels.",
            field="size",
            limit=settings.max_side,
        )
    if width * height > settings.max_pixels:
        raise _too_many_pixels(settings)


def _check_turned_webp(pixels: int, settings: PictureSettings) -> None:
    """Its encoder takes up to 33 bytes for a pixel with transparency, twice what all else does."""
    most = settings.max_pixels // 2
    if pixels > most:
        text = f"size: A WebP picture with transparency that has to be turned may have at most {most} pixels."
        raise Invalid(text, field="size", limit=most)


def _too_many_pixels(settings: PictureSettings) -> Invalid:
    return Invalid(
        f"size: A picture may have at most {settings.max_pixels} pixels.", field="size", limit=settings.max_pixels
    )


def _encode_anew(turned: Image.Image, type: str) -> bytes:
    """As it cannot be turned otherwise. It loses its metadata."""
    options: dict[str, Any] = {"quality": _QUALITY} if type != "image/png" else {}
    kept: dict[str, Any] = {name: turned.info[name] for name in ("transparency", "icc_profile") if name in turned.info}
    turned.info = {name: value for name, value in kept.items()}
    out = BytesIO()
    turned.save(out, _FORMATS[type], **kept, **options)
    return strip(out.getvalue(), type)


def _plain(image: Image.Image) -> Image.Image:
    """RGB or RGBA, so that it can be scaled and encoded; of its metadata only the profile."""
    kept: dict[str | tuple[int, int], Any] = {}
    if image.mode.startswith("I"):  # 16 bits of grey: what is above 255 would be white
        plain = image.convert("I").point(lambda value: value * (1 / 256)).convert("RGB")
    elif image.mode in ("RGB", "RGBA"):
        plain = image.copy()
        kept = {"icc_profile": image.info["icc_profile"]} if image.info.get("icc_profile") else {}
    else:
        transparent = image.mode in ("LA", "PA") or "transparency" in image.info
        plain = image.convert("RGBA" if transparent else "RGB")
    plain.info = kept  # Pillow would write comments and more of it into thumbnails
    return plain


def _encode(image: Image.Image, quality: int) -> Encoded:
    out = BytesIO()
    profile = image.info.get("icc_profile") if image.mode == "RGB" else None
    if image.mode == "RGBA":
        image.save(out, "WEBP", quality=quality)
        return Encoded(out.getvalue(), "image/webp")
    image.save(out, "JPEG", quality=quality, icc_profile=profile)
    return Encoded(out.getvalue(), "image/jpeg")
