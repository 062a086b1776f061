"""Looks into what was uploaded: its size, its type by its first bytes, its digest, and for pictures the conversion."""

from __future__ import annotations

import asyncio
import codecs
import hashlib
import time
from collections.abc import AsyncIterator
from typing import Annotated

from attrs import frozen
from chat_common.errors import Conflict, Invalid, NotFound
from chat_common.ports.objects import ObjectStore, ObjectTelemetry
from chat_common.settings import setting
from msgspec import Meta

from chat_oss.content import HEAD_BYTES, IMAGES, agrees, names_its_maker, real_type
from chat_oss.converter import Converter
from chat_oss.picture_settings import Picture, PictureSettings
from chat_oss.policy import Policy
from chat_oss.telemetry import Silent

HASH_OFF_LOOP = 64 * 1024
"""Hashing so much takes longer than the way to a thread and back."""
_PACK = " Put it into an archive to send it as it is."


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


@frozen(kw_only=True)
class Inspected:
    """A content that is what it was said to be, or the picture made of it, whose ``size`` and ``digest`` it then is.

    ``type``: what it is, which for a picture is not always what was announced. ``digest``: SHA-256, None where it was
    not read to the end; of a picture that of all its variants. ``utf8``: a text, all of which is UTF-8. ``unstripped``:
    a picture or video of a kind that is not converted, so that the place and camera that it may name stay in it.
    """

    size: int
    type: str
    digest: str | None
    picture: Picture | None = None
    utf8: bool = False
    unstripped: bool = False


class Intake:
    """Inspects contents; pictures are converted in processes of their own, beside the event loop."""

    def __init__(self, settings: IntakeSettings, policy: Policy, telemetry: ObjectTelemetry | None = None) -> None:
        self._settings = settings
        self._policy = policy
        self._telemetry = telemetry or Silent()
        self._converter = Converter(settings, processes=settings.picture_processes, seconds=settings.picture_seconds)

    async def inspect(self, store: ObjectStore, key: str, *, type: str, size: int, sha256: str | None) -> Inspected:
        """Read and verify what lies under ``key``. A picture is one by its content, whatever it was announced as.

        `Conflict`: nothing lies there. `Invalid`: of another size (``size``), of another type (``type``), with another
        checksum (``sha256``), not a readable picture (``file``), or a picture that the policy does not let in.
        """
        # Every picture that is let in is read to its end.
        whole = sha256 is not None or size <= max(self._settings.hash_up_to, self._policy.settings.max_picture_bytes)
        reading = _Reading(type, collect=size <= self._policy.settings.max_picture_bytes)
        try:
            stored = size if whole else (await store.stat(key)).size
            # One byte more than there should be: enough to see that it is too long.
            async with store.get(key, length=size + 1 if whole else HEAD_BYTES) as chunks:
                await reading.take(chunks)
        except NotFound:
            raise Conflict("Nothing has been uploaded yet.") from None
        if stored != size or (whole and reading.size != size):
            raise Invalid(
                f"size: The content does not have the {size} bytes that were announced.", field="size", limit=size
            )
        real = real_type(type, bytes(reading.head))
        if not agrees(real, bytes(reading.head)):
            raise Invalid(f"type: This file is not of type {type}.", field="type")
        known = sha256 is not None or size <= self._settings.hash_up_to
        digest = reading.hasher.hexdigest() if known else None
        if sha256 is not None and sha256 != digest:
            raise Invalid("sha256: The file has another checksum.", field="sha256")
        if real in IMAGES:
            return await self._picture(bytes(reading.data), type, real, size)
        return Inspected(
            size=size,
            type=real,
            digest=digest,
            utf8=whole and reading.utf8,
            unstripped=names_its_maker(bytes(reading.head)),
        )

    async def _picture(self, data: bytes, announced: str, type: str, size: int) -> Inspected:
        as_it_is = "" if announced in IMAGES else _PACK
        try:
            self._policy.check(type, size)
            converted = await self.convert(data, type)
        except Invalid as error:
            raise Invalid(f"{error.message}{as_it_is}", field=error.field, limit=error.limit) from error
        return Inspected(size=len(converted.content), type=type, digest=converted.digest, picture=converted)

    async def convert(self, data: bytes, type: str) -> Picture:
        """`chat_oss.pictures.process` in a process; `Invalid` as there, and when it takes too long."""
        began = time.perf_counter()
        picture = await self._converter.convert(data, type)
        self._telemetry.picture(time.perf_counter() - began)
        return picture

    async def aclose(self) -> None:
        await self._converter.aclose()


class _Reading:
    """What one pass over a content finds out. ``data``: all of it, where it is a picture, and ``collect`` is true."""

    def __init__(self, type: str, *, collect: bool) -> None:
        self._collect = collect
        self.size = 0
        self.head = bytearray()
        self.data = bytearray()
        self.hasher = hashlib.sha256()
        self._type = type
        self._decoder = codecs.getincrementaldecoder("utf-8")() if type.startswith("text/") else None

    async def take(self, chunks: AsyncIterator[bytes]) -> None:
        async for chunk in chunks:
            self.size += len(chunk)
            if len(self.head) < HEAD_BYTES:
                self.head += chunk[: HEAD_BYTES - len(self.head)]
            # Until the first bytes are all there nobody knows what it is.
            if self._collect and (len(self.head) < HEAD_BYTES or real_type(self._type, bytes(self.head)) in IMAGES):
                self.data += chunk
            else:
                self._collect = False
                self.data.clear()
            if len(chunk) < HASH_OFF_LOOP:
                self._judge(chunk)
            else:
                await asyncio.to_thread(self._judge, chunk)

    def _judge(self, chunk: bytes) -> None:
        self.hasher.update(chunk)
        if self._decoder is not None:
            try:
                self._decoder.decode(chunk)
            except UnicodeDecodeError:
                self._decoder = None

    @property
    def utf8(self) -> bool:
        """Whether it is a text, and all of it UTF-8."""
        if self._decoder is None:
            return False
        try:
            self._decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return False
        return True
