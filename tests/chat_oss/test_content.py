from __future__ import annotations

import pytest
from chat_oss.content import agrees, may_be_shown, sniff

from tests.chat_oss import pictures

MP4 = b"\0\0\0\x20ftypisom\0\0\x02\0isomiso2avc1mp41"
WEBM = b"\x1a\x45\xdf\xa3\x9f\x42\x86\x81\x01\x42\xf7\x81\x01\x42\xf2\x81\x04\x42\xf3\x81\x08\x42\x82\x84webm"
OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(20)
ELF = b"\x7fELF\x02\x01\x01" + bytes(20)


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (pictures.jpeg(), "image/jpeg"),
        (pictures.png(), "image/png"),
        (pictures.gif(), "image/gif"),
        (pictures.webp(), "image/webp"),
        (MP4, "video/mp4"),
        (WEBM, "video/webm"),
        (b"OggS\0\2" + bytes(20), "audio/ogg"),
        (b"ID3\4\0", "audio/mpeg"),
        (b"\xff\xfb\x90\x64", "audio/mpeg"),
        (b"RIFF\0\0\0\0WAVEfmt ", "audio/wav"),
        (b"%PDF-1.7", "application/pdf"),
        (b"PK\x03\x04\x14\0", "application/zip"),
        (b"\xef\xbb\xbf \n<!DOCTYPE html><p>", "text/html"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "image/heic"),
    ],
)
def test_a_type_is_told_from_the_first_bytes(head: bytes, expected: str) -> None:
    assert sniff(head)[0] == expected
    assert agrees(expected, head)


@pytest.mark.parametrize(
    ("type", "head"),
    [
        ("image/png", pictures.jpeg()),
        ("image/jpeg", b"<html><script>alert(1)</script>"),
        ("image/gif", ELF),
        ("video/mp4", WEBM),
        ("audio/webm", MP4),
        ("application/pdf", b"PK\x03\x04"),
        ("application/zip", b"MZ"),
        ("application/vnd.openxmlformats-officedocument.wordprocessingml.document", b"MZ\x90"),
        ("text/plain", ELF),
        ("text/csv", pictures.png()),
        ("image/x-unknown", b"anything"),
        ("application/msword", b"MZ\x90"),
        ("application/vnd.ms-excel", b"<html>"),
        ("application/vnd.ms-word.document.macroenabled.12", OLE),
        ("audio/x-unknown", b"anything"),
        ("image/png", b""),
    ],
)
def test_a_content_that_is_something_else_does_not_agree(type: str, head: bytes) -> None:
    assert not agrees(type, head)


@pytest.mark.parametrize(
    ("type", "head"),
    [
        ("audio/webm", WEBM),
        ("audio/mp4", MP4),
        ("text/plain", "你好".encode()),
        ("text/plain", b"<html> as text"),
        ("application/octet-stream", ELF),
        ("application/json", b"{}"),
        ("application/msword", OLE),
        ("application/msword", b"{\\rtf1\\ansi"),
        ("text/plain", b"{\\rtf1\\ansi"),
        ("application/vnd.ms-powerpoint", OLE),
        ("application/vnd.ms-word.document.macroenabled.12", b"PK\x03\x04"),
        ("application/vnd.openxmlformats-officedocument.wordprocessingml.document", b"PK\x03\x04"),
    ],
)
def test_a_content_agrees_with_all_its_names(type: str, head: bytes) -> None:
    assert agrees(type, head)


@pytest.mark.parametrize(
    "type", ["text/html", "image/svg+xml", "application/xhtml+xml", "application/javascript", "x/y"]
)
def test_what_could_act_as_a_page_is_never_shown_in_place(type: str) -> None:
    assert not may_be_shown(type)
