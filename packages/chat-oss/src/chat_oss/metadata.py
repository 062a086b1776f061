"""Takes out of a picture what it says about its maker: place, camera, software, comments, embedded previews.

Works on the container's segments, so pixels and animation stay as they are, bit for bit. Colour profiles stay; what
follows the end of the picture does not. Sources: ITU T.81, PNG 3rd edition, GIF89a, the WebP container specification.
"""

from __future__ import annotations

import re

from chat_common.errors import Invalid

KEPT_PNG = frozenset(
    b"IHDR PLTE IDAT IEND tRNS cHRM gAMA iCCP sBIT sRGB bKGD pHYs cICP mDCV cLLI acTL fcTL fdAT".split()
)
KEPT_WEBP = frozenset({b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF", b"ICCP"})
_FILLED = re.compile(rb"\xff+")
_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
_EOI, _SOS, _COMMENT = 0xD9, 0xDA, 0xFE


_PIECES, _PIECE_BYTES = 1_000, 64
"""So many pieces, and one more for so many bytes: a GIF has one for 256, other pictures one for thousands."""


class BadPicture(Exception):
    """The container is broken."""


def strip(data: bytes, type: str) -> bytes:
    """The same picture without metadata. ``type``: one of `chat_oss.content.IMAGES`.

    `BadPicture`; `Invalid` when it consists of far more segments, chunks or blocks than such pictures do.
    """
    try:
        return {
            "image/jpeg": _strip_jpeg,
            "image/png": _strip_png,
            "image/gif": _strip_gif,
            "image/webp": _strip_webp,
        }[type](data)
    except IndexError:
        raise BadPicture("the picture ends too early") from None


class _Pieces:
    """Counts the pieces of one picture."""

    def __init__(self, data: bytes) -> None:
        self._most = self._left = _PIECES + len(data) // _PIECE_BYTES

    def count(self) -> None:
        self._left -= 1
        if self._left < 0:
            text = f"file: This picture is made of more than {self._most} pieces. Save it anew, and send that."
            raise Invalid(text, field="file", limit=self._most)


def _strip_jpeg(data: bytes) -> bytes:
    out = [data[:2]]
    at = 2
    pieces = _Pieces(data)
    while True:
        pieces.count()
        if data[at] == 0xFF and data[at + 1] == 0xFF:  # fill bytes
            found = _FILLED.match(data, at)
            at = found.end() - 1 if found is not None else at
        if data[at] != 0xFF:
            raise BadPicture("a marker is missing")
        marker = data[at + 1]
        if marker == _EOI:
            out.append(data[at : at + 2])
            return b"".join(out)
        stop = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if stop > len(data) or stop < at + 4:
            raise BadPicture("a segment reaches beyond the end")
        out.append(_jpeg_segment(marker, data[at:stop]))
        at = stop
        if marker == _SOS:
            found = _MARKER.search(data, at)
            if found is None:
                raise BadPicture("the picture ends too early")
            out.append(data[at : found.start()])
            at = found.start()


def _jpeg_segment(marker: int, segment: bytes) -> bytes:
    if marker == 0xE0 and segment[4:9] == b"JFIF\0":
        return b"\xff\xe0\x00\x10" + segment[4:16] + b"\0\0"  # without its preview
    if marker == 0xE2 and segment[4:16] == b"ICC_PROFILE\0":
        return segment
    if marker == 0xEE and segment[4:9] == b"Adobe" and len(segment) >= 16:
        return b"\xff\xee\x00\x0e" + segment[4:16]
    return b"" if 0xE0 <= marker <= 0xEF or marker == _COMMENT else segment


def _strip_png(data: bytes) -> bytes:
    out = [data[:8]]
    at = 8
    pieces = _Pieces(data)
    while True:
        pieces.count()
        name = data[at + 4 : at + 8]
        stop = at + 12 + int.from_bytes(data[at : at + 4], "big")
        if len(name) < 4 or stop > len(data):
            raise BadPicture("a chunk reaches beyond the end")
        if name in KEPT_PNG:
            out.append(data[at:stop])
        if name == b"IEND":
            return b"".join(out)
        at = stop


def _strip_gif(data: bytes) -> bytes:
    at = 13 + _gif_table(data[10])
    out = [data[:at]]
    pieces = _Pieces(data)
    while data[at] != 0x3B:
        pieces.count()
        start = at
        label = -1
        if data[at] == 0x21:
            label = data[at + 1]
            at += 2
        elif data[at] == 0x2C:
            at += 10 + _gif_table(data[at + 9]) + 1
        else:
            raise BadPicture("an unknown block")
        first = at
        while data[at]:
            pieces.count()
            at += data[at] + 1
        at += 1
        out.append(data[start:at] if label == -1 else _gif_extension(label, data[first:at]))
    return b"".join([*out, b"\x3b"])


def _gif_extension(label: int, blocks: bytes) -> bytes:
    """How a frame is shown, and how often all are: of anything else, and of what follows in them, nothing."""
    if label == 0xF9 and blocks[0] >= 4:
        return b"\x21\xf9\x04" + blocks[1:5] + b"\0"
    if label == 0xFF and blocks[:12] in (b"\x0bNETSCAPE2.0", b"\x0bANIMEXTS1.0"):
        at = 12
        while at < len(blocks) and blocks[at]:
            if blocks[at] == 3 and blocks[at + 1] == 1:
                return b"\x21\xff" + blocks[:12] + blocks[at : at + 4] + b"\0"
            at += blocks[at] + 1
    return b""


def _gif_table(flags: int) -> int:
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _strip_webp(data: bytes) -> bytes:
    out = []
    at = 12
    end = min(len(data), 8 + int.from_bytes(data[4:8], "little"))
    pieces = _Pieces(data)
    while at + 8 <= end:
        pieces.count()
        name = data[at : at + 4]
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        stop = at + 8 + size
        if stop > len(data):
            raise BadPicture("a chunk reaches beyond the end")
        chunk = data[at:stop] + b"\0" * (size % 2)
        if name == b"VP8X":
            chunk = chunk[:8] + bytes([chunk[8] & ~0x0C]) + chunk[9:]  # says no more that EXIF and XMP follow
        if name in KEPT_WEBP:
            out.append(chunk)
        at = stop + size % 2
    body = b"".join(out)
    if not body:
        raise BadPicture("no picture inside")
    return b"RIFF" + (len(body) + 4).to_bytes(4, "little") + b"WEBP" + body
