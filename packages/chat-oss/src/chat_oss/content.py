"""What a content is, told from its first bytes, not from its name."""

from __future__ import annotations

from collections.abc import Callable

from attrs import frozen

HEAD_BYTES = 4096
"""So many first bytes are enough to tell."""

IMAGES = ("image/jpeg", "image/png", "image/gif", "image/webp")
"""What is processed as a picture: measured, stripped of metadata, given thumbnails."""


@frozen
class _Sign:
    """Types that agree with a content which begins in this way; the first is the usual one."""

    types: tuple[str, ...]
    fits: Callable[[bytes], bool]


def _starts(*prefixes: bytes) -> Callable[[bytes], bool]:
    return lambda head: head.startswith(prefixes)


def _riff(form: bytes) -> Callable[[bytes], bool]:
    return lambda head: head[:4] == b"RIFF" and head[8:12] == form


def _brands(*brands: bytes) -> Callable[[bytes], bool]:
    """ISO base media files: the major brand, or one of the compatible ones."""

    def fits(head: bytes) -> bool:
        if head[4:8] != b"ftyp":
            return False
        length = min(int.from_bytes(head[:4], "big"), len(head))
        named = {head[8:12], *(head[at : at + 4] for at in range(16, length, 4))}
        return not named.isdisjoint(brands)

    return fits


def _ebml(doctype: bytes) -> Callable[[bytes], bool]:
    return lambda head: head.startswith(b"\x1a\x45\xdf\xa3") and doctype in head[:64]


def _mpeg_audio(head: bytes) -> bool:
    return len(head) > 1 and head[0] == 0xFF and head[1] & 0xE6 in (0xE2, 0xE4, 0xE6)


def _bitmap(head: bytes) -> bool:
    """With its four reserved bytes: BM alone begins many a text."""
    return head[:2] == b"BM" and head[6:10] == bytes(4)


def _markup(head: bytes) -> bool:
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")[:512].lower()
    return text.startswith((b"<!doctype html", b"<html", b"<script", b"<svg", b"<?xml", b"<head", b"<body"))


_MP4_AUDIO = ("audio/mp4", "audio/x-m4a", "audio/m4a", "audio/aac")
_OLE = ("application/msword", "application/vnd.ms-excel", "application/vnd.ms-powerpoint", "application/vnd.ms-outlook")
_SIGNS = (
    _Sign(("image/jpeg",), _starts(b"\xff\xd8\xff")),
    _Sign(("image/png", "image/apng"), _starts(b"\x89PNG\r\n\x1a\n")),
    _Sign(("image/gif",), _starts(b"GIF87a", b"GIF89a")),
    _Sign(("image/webp",), _riff(b"WEBP")),
    _Sign(("image/bmp",), _bitmap),
    _Sign(("image/tiff",), _starts(b"II*\0", b"MM\0*")),
    _Sign(("image/avif",), _brands(b"avif", b"avis")),
    _Sign(("image/heic", "image/heif"), _brands(b"heic", b"heix", b"hevc", b"mif1", b"msf1")),
    _Sign(("audio/wav", "audio/x-wav", "audio/wave"), _riff(b"WAVE")),
    _Sign(("video/x-msvideo",), _riff(b"AVI ")),
    _Sign(("video/quicktime",), _brands(b"qt  ")),
    _Sign(("video/3gpp", "audio/3gpp"), _brands(b"3gp4", b"3gp5", b"3gp6")),
    _Sign(
        ("video/mp4", "video/x-m4v", *_MP4_AUDIO),
        _brands(
            b"isom", b"iso2", b"iso4", b"iso5", b"iso6", b"mp41", b"mp42", b"avc1", b"M4V ", b"M4A ", b"dash", b"mmp4"
        ),
    ),
    _Sign(("video/webm", "audio/webm"), _ebml(b"webm")),
    _Sign(("video/x-matroska", "audio/x-matroska", "video/webm", "audio/webm"), _ebml(b"matroska")),
    _Sign(("audio/ogg", "video/ogg", "application/ogg", "audio/opus"), _starts(b"OggS")),
    _Sign(("audio/flac", "audio/x-flac"), _starts(b"fLaC")),
    _Sign(("audio/amr",), _starts(b"#!AMR")),
    _Sign(("audio/aac", "audio/x-aac"), _starts(b"\xff\xf1", b"\xff\xf9")),
    _Sign(("audio/mpeg", "audio/mp3"), lambda head: head.startswith(b"ID3") or _mpeg_audio(head)),
    _Sign(("application/pdf",), _starts(b"%PDF-")),
    _Sign(_OLE, _starts(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")),
    _Sign(("application/rtf", "text/rtf", "application/msword"), _starts(b"{\\rtf")),
    _Sign(("application/zip",), _starts(b"PK\x03\x04", b"PK\x05\x06")),
    _Sign(("application/gzip", "application/x-gzip"), _starts(b"\x1f\x8b")),
    _Sign(("application/x-7z-compressed",), _starts(b"7z\xbc\xaf\x27\x1c")),
    _Sign(("application/vnd.rar", "application/x-rar-compressed"), _starts(b"Rar!\x1a\x07")),
    _Sign(("text/html", "image/svg+xml", "application/xml", "text/xml"), _markup),
)
_RECOGNIZED = frozenset(name for sign in _SIGNS for name in sign.types)
# Packed or plain formats that go by many names: what they may look like.
_OFFICE = (
    "application/vnd.openxmlformats-",
    "application/vnd.oasis.",
    "application/vnd.ms-word.",  # with macros
    "application/vnd.ms-excel.",
    "application/vnd.ms-powerpoint.",
    "application/epub+zip",
    "application/java-archive",
)


def sniff(head: bytes) -> tuple[str, ...]:
    """The types that agree with a content that begins so, the usual one first; empty when nothing is recognised."""
    for sign in _SIGNS:
        if sign.fits(head):
            return sign.types
    return ()


def agrees(type: str, head: bytes) -> bool:
    """Whether a content that begins with ``head`` may be called ``type``.

    A type with a known beginning needs that beginning; text must look like text; ``application/octet-stream`` and
    types that nobody knows are taken at their word, as they are never shown in place.
    """
    found = sniff(head)
    if type in _RECOGNIZED:
        return type in found
    if type.startswith(_OFFICE):
        return "application/zip" in found
    if type.startswith("text/"):
        return b"\0" not in head and (not found or bool({"text/html", "text/rtf"} & set(found)))
    return type.split("/")[0] not in ("image", "audio", "video")


def real_type(type: str, head: bytes) -> str:
    """What a content announced as ``type`` is: a picture is one by its first bytes; for all else see `agrees`."""
    found = sniff(head)
    if found and found[0] in IMAGES and (type in IMAGES or agrees(type, head)):
        return found[0]
    return type


def names_its_maker(head: bytes) -> bool:
    """Whether a content is of a kind that may hold place and camera, and that is not converted: HEIC, TIFF, videos."""
    found = sniff(head)
    return bool(found) and found[0] not in IMAGES and found[0].startswith(("image/", "video/"))


SHOWN = frozenset({*IMAGES, "application/pdf", "text/plain"})


def may_be_shown(type: str) -> bool:
    """Whether a browser may show it in place. Everything else is only ever saved: markup could act as a page."""
    return type in SHOWN or type.startswith(("audio/", "video/"))
