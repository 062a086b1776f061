"""Files on their way to the storage: begin, put the content where the server says, finish."""

from __future__ import annotations

import asyncio
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import msgspec
from msgspec import UNSET

from chat_common.errors import Unavailable
from chat_common.ports.files import FileFacts, PartLinks, UploadBegun, UploadRequest

PUT_TIMEOUT = 120.0
"""Seconds without progress after which a request to the storage is given up."""
LINKS = 20
"""Links of parts that are asked for at a time: they expire."""

Call = Callable[[str, Any], Awaitable[Any]]


async def upload(
    call: Call, address: str, conversation: str, content: Path | bytes, name: str, media_type: str
) -> FileFacts:
    """The finished file. ``address`` is what relative links of the server belong to."""
    size = len(content) if isinstance(content, bytes) else await asyncio.to_thread(lambda: content.stat().st_size)
    params = {"conversation": conversation, "name": name, "type": media_type, "size": size}
    begun = msgspec.convert(await call("upload.begin", params), UploadBegun)
    if begun.put is not UNSET:
        await asyncio.to_thread(_put, begun.put, address, content, 0, size)
    elif begun.parts is not UNSET:
        await _put_parts(call, address, begun.file, begun.parts, begun.part_size or 0, content)
    return msgspec.convert(await call("upload.finish", {"file": begun.file}), FileFacts)


async def _put_parts(call: Call, address: str, file: str, count: int, part_size: int, content: Path | bytes) -> None:
    for first in range(1, count + 1, LINKS):
        numbers = list(range(first, min(first + LINKS, count + 1)))
        links = msgspec.convert(await call("upload.parts", {"file": file, "numbers": numbers}), PartLinks)
        for link in links.links:
            start = (link.number - 1) * part_size
            await asyncio.to_thread(_put, link.put, address, content, start, link.size)


def _put(put: UploadRequest, address: str, content: Path | bytes, start: int, size: int) -> None:
    if isinstance(content, bytes):
        data = content[start : start + size]
    else:
        with content.open("rb") as file:
            file.seek(start)
            data = file.read(size)
    url = urljoin(address.rstrip("/") + "/", put.url)
    request = urllib.request.Request(url, data, put.headers, method=put.method)
    try:
        with urllib.request.urlopen(request, timeout=PUT_TIMEOUT):
            return
    except urllib.error.HTTPError as error:
        raise Unavailable(f"The storage refused the upload with HTTP status {error.code}.") from None
    except OSError as error:
        raise Unavailable(f"The storage cannot be reached: {error}") from error
