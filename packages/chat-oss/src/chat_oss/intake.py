"""Looks into what was uploaded: its size, its type by its first bytes, its digest, and for pictures the conversion."""

from __future__ import annotations

import asyncio
import hashlib
import time
from typing import Annotated

from attrs import frozen
from chat_common.errors import Conflict, Invalid, NotFound
from chat_common.ports.objects import ObjectStore, ObjectTelemetry
from chat_common.settings import setting
from msgspec import Meta

from chat_oss.content import HEAD_BYTES, IMAGES, agrees
from chat_oss.converter import Converter
from chat_oss.picture_settings import Picture, PictureSettings
from chat_oss.telemetry import Silent

HASH_OFF_LOOP = 64 * 1024
"""Hashing so much takes longer than the way to a thread and back."""


@frozen(kw_only=True)
class IntakeSettings(PictureSettings):
    picture_processes: Annotated[int, Meta(ge=1, le=64)] = setting(
        2, help="Pictures that are converted at once, each in a process of its own."
    )
    picture_seconds: Annotated[float, Meta(gt=0, le=600)] = setting(
        30.0, help="Seconds that the conversion of a picture may take; then it is ended, and the picture refused."
    )
    hash_up_to: Annotated[int, Meta(ge=0)] = setting(
        256 * 1024 * 1024,
        help="Larger contents are neither hashed (unless the client names a checksum) nor stored once only.",
    )


@frozen
class Inspected:
    """A content that is what it was said to be, or the picture made of it, whose ``size`` and ``digest`` it then is.

    ``digest``: SHA-256, None where it was not read to the end; of a picture that of all its variants.
    """

    size: int
    digest: str | None
    picture: Picture | None


class Intake:
    """Inspects contents; pictures are converted in processes of their own, beside the event loop."""

    def __init__(self, settings: IntakeSettings, telemetry: ObjectTelemetry | None = None) -> None:
        self._settings = settings
        self._telemetry = telemetry or Silent()
        self._converter = Converter(settings, processes=settings.picture_processes, seconds=settings.picture_seconds)

    async def inspect(self, store: ObjectStore, key: str, *, type: str, size: int, sha256: str | None) -> Inspected:
        """Read and verify what lies under ``key``.

        `Conflict`: nothing does. `Invalid`: of another size (``size``), of another type (``type``), with another
        checksum (``sha256``), or no readable picture (``file``).
        """
        picture = type in IMAGES
        whole = picture or sha256 is not None or size <= self._settings.hash_up_to
        found = 0
        hasher = hashlib.sha256()
        kept = bytearray()
        try:
            if not whole:
                found = (await store.stat(key)).size
            # One byte more than there should be: enough to see that it is too long.
            async with store.get(key, length=size + 1 if whole else HEAD_BYTES) as chunks:
                async for chunk in chunks:
                    if picture or len(kept) < HEAD_BYTES:
                        kept += chunk if picture else chunk[: HEAD_BYTES - len(kept)]
                    if whole:
                        found += len(chunk)
                        await self._hash(hasher, chunk)
        except NotFound:
            raise Conflict("nothing has been uploaded yet") from None
        if found != size:
            raise Invalid(f"size: not the {size} bytes that were announced", field="size", limit=size)
        if not agrees(type, bytes(kept[:HEAD_BYTES])):
            raise Invalid(f"type: this is not of type {type}", field="type")
        digest = hasher.hexdigest() if whole else None
        if sha256 is not None and sha256 != digest:
            raise Invalid("sha256: the content has another checksum", field="sha256")
        if not picture:
            return Inspected(size, digest, None)
        converted = await self.convert(bytes(kept), type)
        return Inspected(len(converted.content), converted.digest, converted)

    async def convert(self, data: bytes, type: str) -> Picture:
        """`chat_oss.pictures.process` in a process; `Invalid` as there, and when it takes too long."""
        began = time.perf_counter()
        picture = await self._converter.convert(data, type)
        self._telemetry.picture(time.perf_counter() - began)
        return picture

    async def _hash(self, hasher: hashlib._Hash, chunk: bytes) -> None:
        if len(chunk) < HASH_OFF_LOOP:
            hasher.update(chunk)
        else:
            await asyncio.to_thread(hasher.update, chunk)

    async def aclose(self) -> None:
        await self._converter.aclose()
