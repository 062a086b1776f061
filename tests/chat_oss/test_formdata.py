from __future__ import annotations

import pytest
from chat_oss.formdata import FIELD_BYTES, FIELDS_MAX, BadForm, Field, FileData, FormReader, boundary_of
from hypothesis import given
from hypothesis import strategies as st

BOUNDARY = "xyz"


def form(fields: dict[str, str], content: bytes) -> bytes:
    parts = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    ]
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="a"\r\nContent-Type: a/b\r\n\r\n'
    return b"".join([*parts, head.encode(), content, f"\r\n--{BOUNDARY}--\r\n".encode()])


def read(reader: FormReader, body: bytes, size: int) -> tuple[dict[str, str], bytes]:
    fields: dict[str, str] = {}
    content = b""
    for at in range(0, len(body), size):
        for item in reader.feed(body[at : at + size]):
            if isinstance(item, Field):
                fields[item.name] = item.value
            else:
                content += item.data
    return fields, content


@given(
    content=st.one_of(st.binary(max_size=300), st.lists(st.sampled_from([b"\r\n", b"--", b"xyz", b"x"])).map(b"".join)),
    size=st.integers(1, 400),
    value=st.text(st.characters(blacklist_characters="\r\n", blacklist_categories=["Cs"]), max_size=20),
)
def test_a_form_is_read_in_any_pieces(content: bytes, size: int, value: str) -> None:
    if b"\r\n--xyz" in b"\r\n" + content:
        return  # no sender uses a boundary that stands in the content
    reader = FormReader(b"xyz")
    fields, found = read(reader, form({"key": "a/b", "empty": "", "value": value}, content), size)
    assert fields == {"key": "a/b", "empty": "", "value": value}
    assert found == content
    assert reader.done


def test_the_file_comes_in_pieces_before_it_is_complete() -> None:
    reader = FormReader(b"xyz")
    body = form({}, bytes(100_000))
    items = list(reader.feed(body[:50_000]))
    assert sum(len(item.data) for item in items if isinstance(item, FileData)) > 49_000
    assert not reader.done


@pytest.mark.parametrize(
    "body",
    [
        b"no boundary at all" * 2_000,
        b"--xyz--\r\n",
        b"--xyz\r\nContent-Disposition: form-data\r\n\r\n",
        b"--xyz\r\n" + b"x" * FIELD_BYTES * 2,
        b'--xyz\r\nContent-Disposition: form-data; name="a"\r\n\r\n' + b"x" * FIELD_BYTES * 2,
        form({f"f{number}": "" for number in range(FIELDS_MAX + 1)}, b""),
    ],
)
def test_a_bad_form_is_refused_with_little_memory(body: bytes) -> None:
    with pytest.raises(BadForm):
        read(FormReader(b"xyz"), body, 1_000)


@pytest.mark.parametrize("header", ["", "text/plain", "multipart/form-data", "multipart/form-data; boundary="])
def test_a_body_without_a_boundary_is_no_form(header: str) -> None:
    with pytest.raises(BadForm):
        boundary_of(header)


def test_boundaries_may_be_quoted() -> None:
    assert boundary_of('multipart/form-data; charset=utf-8; boundary="a b"') == b"a b"
    assert boundary_of("Multipart/Form-Data;boundary=abc; x=y") == b"abc"
