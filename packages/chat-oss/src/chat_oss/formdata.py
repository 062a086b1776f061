"""A reader of ``multipart/form-data`` as POST uploads use it: small fields first, then one ``file``, streamed.

Sans I/O: feed it bytes, take `Field` and `FileData` from it. Source of the rules: RFC 7578, RFC 2046 section 5.1.1.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from attrs import frozen

FIELDS_MAX = 32
FIELD_BYTES = 20_000
_BOUNDARY = re.compile(r'multipart/form-data\s*;.*?boundary=(?:"([^"]{1,70})"|([^\s;"]{1,70}))', re.IGNORECASE)
_NAME = re.compile(rb'\bname="([^"\r\n]*)"', re.IGNORECASE)


class BadForm(Exception):
    """The body is no form that this reader takes."""


@frozen
class Field:
    name: str
    value: str


@frozen
class FileData:
    """A piece of the file; ``last`` (with no data) when it is over."""

    data: bytes
    last: bool = False


def boundary_of(content_type: str) -> bytes:
    """The boundary that a ``Content-Type`` header names; `BadForm`."""
    match = _BOUNDARY.match(content_type)
    if match is None:
        raise BadForm("a multipart/form-data body with a boundary is needed")
    return (match[1] or match[2]).encode("latin-1")


class FormReader:
    """Turns a body, fed in any pieces, into fields and the file's pieces. Keeps at most one field in memory."""

    def __init__(self, boundary: bytes) -> None:
        self._delimiter = b"\r\n--" + boundary
        self._buffer = bytearray(b"\r\n")  # the first delimiter may stand at the very beginning
        self._state = "preamble"
        self._name = ""
        self._fields = 0

    @property
    def done(self) -> bool:
        """The file has been read to its end; whatever follows is ignored."""
        return self._state == "done"

    def feed(self, data: bytes) -> Iterator[Field | FileData]:
        """What ``data`` completes. Iterate to the end before feeding more. `BadForm`."""
        if self.done:
            return
        self._buffer += data
        while True:
            before = self._state, len(self._buffer)
            yield from self._step()
            if (self._state, len(self._buffer)) == before or self.done:
                return

    def _step(self) -> Iterator[Field | FileData]:
        if self._state == "preamble":
            self._skip_to_delimiter()
        elif self._state == "delimiter":
            self._read_delimiter_end()
        elif self._state == "headers":
            self._read_headers()
        elif self._state == "field":
            yield from self._read_field()
        elif self._state == "file":
            yield from self._read_file()

    def _skip_to_delimiter(self) -> None:
        at = self._buffer.find(self._delimiter)
        if at >= 0:
            del self._buffer[: at + len(self._delimiter)]
            self._state = "delimiter"
        elif len(self._buffer) > FIELD_BYTES:
            raise BadForm("no boundary found")

    def _read_delimiter_end(self) -> None:
        if len(self._buffer) < 2:
            return
        if self._buffer[:2] != b"\r\n":
            raise BadForm("the form ends without a file")
        del self._buffer[:2]
        self._state = "headers"

    def _read_headers(self) -> None:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(self._buffer) > FIELD_BYTES:
                raise BadForm("the headers of a field are too long")
            return
        name = _NAME.search(bytes(self._buffer[:end]))
        if name is None:
            raise BadForm("a field without a name")
        del self._buffer[: end + 2]  # one line end stays: an empty value ends at once
        self._name = name[1].decode("utf-8", "replace")
        self._state = "file" if self._name == "file" else "field"
        if self._state == "file" and not self._buffer.startswith(self._delimiter):
            del self._buffer[:2]
        self._fields += 1
        if self._fields > FIELDS_MAX:
            raise BadForm(f"at most {FIELDS_MAX} fields")

    def _read_field(self) -> Iterator[Field]:
        end = self._buffer.find(self._delimiter)
        if end < 0:
            if len(self._buffer) > FIELD_BYTES:
                raise BadForm(f"the field {self._name!r} is over {FIELD_BYTES} bytes")
            return
        value = bytes(self._buffer[2:end])
        del self._buffer[: end + len(self._delimiter)]
        self._state = "delimiter"
        yield Field(self._name, value.decode("utf-8", "replace"))

    def _read_file(self) -> Iterator[FileData]:
        end = self._buffer.find(self._delimiter)
        if end >= 0:
            data = bytes(self._buffer[:end])
            self._buffer.clear()
            self._state = "done"
            if data:
                yield FileData(data)
            yield FileData(b"", last=True)
            return
        # The end of the buffer may be the beginning of a delimiter.
        ready = len(self._buffer) - len(self._delimiter) + 1
        if ready > 0:
            data = bytes(self._buffer[:ready])
            del self._buffer[:ready]
            yield FileData(data)
