from __future__ import annotations

import pytest
from chat_oss.disposition import content_disposition, content_type


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("", "attachment"),
        ("a.txt", 'attachment; filename="a.txt"'),
        ("../../etc/passwd", 'attachment; filename=".._.._etc_passwd"'),
        ("a\\b.txt", 'attachment; filename="a_b.txt"'),
        ("报告/1.pdf", "attachment; filename=\"___1.pdf\"; filename*=UTF-8''%E6%8A%A5%E5%91%8A_1.pdf"),
        ('a"; x="\r\nb', "attachment; filename=\"a_; x=___b\"; filename*=UTF-8''a%22%3B%20x%3D%22%0D%0Ab"),
    ],
)
def test_a_name_is_a_name_and_nothing_else(name: str, expected: str) -> None:
    assert content_disposition(name, inline=False) == expected


def test_texts_have_a_charset() -> None:
    assert content_type("text/csv", utf8=True) == "text/csv; charset=utf-8"
    assert content_type("text/csv", utf8=False) == "text/csv"
    assert content_type("application/pdf", utf8=True) == "application/pdf"
