"""A zip that is handed on while it is written: nobody holds more of it than the portion that was added last."""

from __future__ import annotations

import asyncio
import zipfile
from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import UTC, datetime

from attrs import define, frozen

NAME_BYTES = 200
"""Of a file's name in the archive: file systems take 255."""
_ENDING = 20
_OLDEST = (1980, 1, 1, 0, 0, 0)
"""What a zip can tell, where a clock is wrong."""
_FORBIDDEN = str.maketrans(dict.fromkeys('/\\:*?"<>|', "_"))


@frozen
class Entry:
    """One file of the archive. ``packed``: its content was compressed before, so that it is stored as it is."""

    name: str
    chunks: AsyncGenerator[bytes]
    packed: bool = False


def safe_name(name: str) -> str:
    """A name that people gave as the name of a file: no path, and nothing that some system takes for one."""
    clean = name.translate(_FORBIDDEN).strip(" .") or "file"
    raw = clean.encode()
    if len(raw) <= NAME_BYTES:
        return clean
    stem, dot, ending = clean.rpartition(".")
    end = f".{ending}".encode() if dot and len(ending.encode()) <= _ENDING else b""
    return ((stem if end else clean).encode()[: NAME_BYTES - len(end)] + end).decode(errors="ignore")


@define
class _Sink:
    """What `zipfile` takes for a stream that cannot be sought."""

    data: bytearray

    def write(self, data: bytes) -> int:
        self.data += data
        return len(data)

    def flush(self) -> None:
        """Nothing is held back."""

    def take(self) -> bytes:
        taken = bytes(self.data)
        self.data.clear()
        return taken


async def zipped(entries: AsyncGenerator[Entry], at: int) -> AsyncGenerator[bytes]:
    """The archive of ``entries``, dated ``at`` (ms since 1970), in portions. Compressing runs beside the event loop.

    Who does not read it to its end closes it (`aclosing`), and so what it reads from.
    """
    sink = _Sink(bytearray())
    archive = zipfile.ZipFile(sink, "w", allowZip64=True)  # type: ignore[call-overload]
    date = max(datetime.fromtimestamp(at / 1000, UTC).timetuple()[:6], _OLDEST)
    async with aclosing(entries):
        async for entry in entries:
            about = zipfile.ZipInfo(entry.name, date)
            about.compress_type = zipfile.ZIP_STORED if entry.packed else zipfile.ZIP_DEFLATED
            about.external_attr = 0o600 << 16
            with archive.open(about, "w", force_zip64=True) as out:
                async with aclosing(entry.chunks) as chunks:
                    async for chunk in chunks:
                        await asyncio.to_thread(out.write, chunk)
                        if portion := sink.take():
                            yield portion
    archive.close()
    yield sink.take()
