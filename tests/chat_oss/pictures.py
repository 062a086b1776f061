"""Pictures made for tests, with metadata that must not survive."""

from __future__ import annotations

from io import BytesIO
from typing import Any

from PIL import Image, PngImagePlugin

SECRET = b"Somewhere-48.8584N"
"""Stands in every kind of metadata."""


def exif(orientation: int = 1) -> bytes:
    tags = Image.Exif()
    tags[0x0112] = orientation
    tags[0x010E] = SECRET.decode()  # description
    tags.get_ifd(0x8825)[1] = "N"  # GPS
    tags.get_ifd(0x8825)[2] = (48.0, 51.0, 30.24)
    return tags.tobytes()


def gradient(width: int, height: int, mode: str = "RGB") -> Image.Image:
    """Left half red, right half blue, so that turning shows."""
    image = Image.new(mode, (width, height), "red")
    image.paste(Image.new(mode, (width - width // 2, height), "blue"), (width // 2, 0))
    return image


def encoded(image: Image.Image, format: str, **options: Any) -> bytes:
    out = BytesIO()
    image.save(out, format, **options)
    return out.getvalue()


def jpeg(width: int = 640, height: int = 480, orientation: int = 1, **options: Any) -> bytes:
    data = encoded(gradient(width, height), "JPEG", exif=exif(orientation), comment=SECRET, quality=90, **options)
    return data + SECRET  # behind the end, as motion photos do


def multi_picture(width: int = 640, height: int = 480, orientation: int = 6) -> bytes:
    """As phones write them: the picture, and another of the same moment behind it."""
    return encoded(
        gradient(width, height), "MPO", save_all=True, append_images=[gradient(80, 60)], exif=exif(orientation)
    )


def png(width: int = 640, height: int = 480, mode: str = "RGB") -> bytes:
    text = PngImagePlugin.PngInfo()
    text.add_text("Location", SECRET.decode())
    text.add_itxt("XML:com.adobe.xmp", SECRET.decode())
    return encoded(gradient(width, height, mode), "PNG", pnginfo=text, exif=exif()) + SECRET


def webp(width: int = 640, height: int = 480, **options: Any) -> bytes:
    return encoded(gradient(width, height), "WEBP", exif=exif(), xmp=SECRET, **options)


def gif(frames: int = 3) -> bytes:
    images = [Image.new("P", (200, 100), number) for number in range(frames)]
    for number, image in enumerate(images):
        image.putpalette([number * 60, 255 - number * 60, 30] * 256)
    return encoded(
        images[0],
        "GIF",
        save_all=True,
        append_images=images[1:],
        duration=[40, 80, 120][:frames],
        loop=0,
        comment=SECRET,
    )


def reopened(data: bytes) -> Image.Image:
    image = Image.open(BytesIO(data))
    image.load()
    return image
