"""The upload flow: begin → the client writes to the store → finish verifies → a file with links; and the sweep.

::

    begun ──finish──► finished ──a message──► sent ──recall──► gone
      └───────── over, cancelled, not sent in time ─────────────┘

Objects: ``upload/<file>`` is what clients write to; ``file/<content>/original | small | large`` is what others read,
written by the server alone (in parts: by the client, but under no link any more once finished). Contents of the same
digest are stored once. Whether one existed cannot be told: everything is done as if it had not.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import secrets
from collections.abc import AsyncIterator, Sequence
from typing import Annotated

from attrs import evolve, frozen
from chat_common.clock import Clock
from chat_common.errors import ChatError, Conflict, Internal, NotFound, Unavailable
from chat_common.ports.files import (
    GRACE_MS,
    AskLinks,
    BeginUpload,
    CancelUpload,
    FileFacts,
    FileLinks,
    FileRecords,
    Finished,
    FinishUpload,
    LinkedFile,
    PartLink,
    PartLinks,
    Upload,
    UploadBegun,
    UploadParts,
    UploadRequest,
)
from chat_common.ports.objects import Link, ObjectStore, ObjectTelemetry
from chat_common.settings import setting
from msgspec import UNSET, Meta, UnsetType

from chat_oss.content import may_be_shown
from chat_oss.intake import Inspected, Intake, IntakeSettings
from chat_oss.policy import Policy, PolicySettings
from chat_oss.telemetry import Silent

VARIANTS = ("original", "small", "large")
SWEEP_BATCH = 200
RESERVE_TRIES = 3
FINISH_SECONDS = GRACE_MS / 2000


@frozen(kw_only=True)
class FilesSettings(PolicySettings, IntakeSettings):
    """``[files.oss]``"""

    upload_seconds: Annotated[int, Meta(ge=60, le=86_400)] = setting(
        3600, help="Seconds that an upload in one piece may take."
    )
    parts_seconds: Annotated[int, Meta(ge=60, le=604_800)] = setting(
        86_400, help="Seconds that an upload in parts may take, interruptions included."
    )
    link_seconds: Annotated[int, Meta(ge=10, le=86_400)] = setting(
        300, help="Seconds that a download link works: it cannot be taken back, only the file can."
    )
    finish_at_once: Annotated[int, Meta(ge=1)] = setting(
        8, help="Uploads that are verified at once: bounds the memory for pictures."
    )


class StoredFiles:
    """`chat_common.ports.files.Files` over an object store and a table."""

    def __init__(
        self,
        store: ObjectStore,
        records: FileRecords,
        intake: Intake,
        clock: Clock,
        settings: FilesSettings,
        telemetry: ObjectTelemetry | None = None,
    ) -> None:
        self._store = store
        self._records = records
        self._intake = intake
        self._clock = clock
        self._settings = settings
        self._telemetry = telemetry or Silent()
        self._policy = Policy(settings)
        self._finishing = asyncio.Semaphore(settings.finish_at_once)

    # --- begin

    async def begin(self, user: str, request: BeginUpload) -> UploadBegun:
        self._policy.check(request.type, request.size)
        now = self._clock.wall_ms()
        file = _new_id()
        part_size = self._policy.part_size(request.type, request.size)
        seconds = self._settings.parts_seconds if part_size else self._settings.upload_seconds
        content = _new_id() if part_size else None
        upload = Upload(
            file=file,
            user=user,
            conversation=request.conversation,
            name=request.name,
            type=request.type,
            size=request.size,
            state="begun",
            expires_at=now + seconds * 1000,
            staging=f"upload/{file}" if content is None else _key(content, "original"),
            content=content,
            part_size=part_size,
            sha256=request.sha256,
        )
        await self._records.begin(upload, self._policy.quota, now)
        self._telemetry.upload("begun")
        if part_size:
            # Should this process end here, the sweep still finds the parts by their key.
            number = await self._store.begin_parts(upload.staging, type=upload.type)
            await self._records.set_upload(file, number)
            count = -(-request.size // part_size)
            return UploadBegun(file=file, expires_at=upload.expires_at, part_size=part_size, parts=count)
        link = self._store.upload_link(upload.staging, size=upload.size, type=upload.type, seconds=seconds)
        return UploadBegun(file=file, expires_at=upload.expires_at, put=_request(link))

    async def parts(self, user: str, request: UploadParts) -> PartLinks:
        upload = self._unfinished(await self._records.mine(user, request.file))
        if upload.upload is None:
            raise Conflict("this upload has no parts")
        have = await self._store.parts(upload.staging, upload.upload)
        seconds = max(1, (upload.expires_at - self._clock.wall_ms()) // 1000)
        links = []
        for number in request.numbers:
            size = min(upload.part_size, upload.size - (number - 1) * upload.part_size)
            if size <= 0:
                raise Conflict(f"this upload has no part {number}", field="numbers")
            link = self._store.part_link(upload.staging, upload.upload, number, size=size, seconds=seconds)
            links.append(PartLink(number=number, size=size, put=_request(link)))
        return PartLinks(links=links, have=[part.number for part in have], expires_at=upload.expires_at)

    def _unfinished(self, upload: Upload) -> Upload:
        if upload.state != "begun":
            raise Conflict("this upload is finished")
        if upload.expires_at <= self._clock.wall_ms():
            raise NotFound("file not found")
        return upload

    # --- finish

    async def finish(self, user: str, ref: str, request: FinishUpload) -> FileFacts:
        try:
            facts = await self._finish(user, ref, request)
        except TimeoutError:
            self._telemetry.upload(Unavailable.code)
            raise Unavailable("the upload could not be verified in time; try again") from None
        except ChatError as error:
            self._telemetry.upload(error.code)
            raise
        self._telemetry.upload("finished")
        return facts

    async def _finish(self, user: str, ref: str, request: FinishUpload) -> FileFacts:
        upload = await self._records.mine(user, request.file)
        if upload.state == "finished" and upload.ref == ref:
            return _facts(upload)
        self._unfinished(upload)
        # Well within the time of a reservation: nothing is written without one.
        async with self._finishing, asyncio.timeout(FINISH_SECONDS):
            if upload.part_size:
                await self._join(upload)
            found = await self._intake.inspect(
                self._store,
                upload.staging,
                type=upload.type,
                size=upload.size,
                sha256=request.sha256 or upload.sha256,
            )
            done = await self._keep(upload, ref, found)
        if not upload.part_size:
            # The link still works for a while: the sweep looks again when it is over.
            with contextlib.suppress(ChatError):
                await self._store.delete([upload.staging])
        return _facts(
            evolve(upload, stored_size=done.size, width=done.width, height=done.height, animated=done.animated)
        )

    async def _join(self, upload: Upload) -> None:
        if upload.upload is None:
            raise Conflict("nothing has been uploaded yet")
        try:
            parts = await self._store.parts(upload.staging, upload.upload)
        except NotFound:
            return  # joined by an earlier finish that did not come to its end; else nothing will be found
        size = sum(part.size for part in parts)
        if size != upload.size:
            raise Conflict(f"{size} of {upload.size} bytes have been uploaded", limit=upload.size)
        assert upload.content is not None
        await self._records.reserve(upload.staging, None, upload.content, self._clock.wall_ms())
        with contextlib.suppress(NotFound):
            await self._store.complete_parts(upload.staging, upload.upload, parts)

    async def _keep(self, upload: Upload, ref: str, found: Inspected) -> Finished:
        for _ in range(RESERVE_TRIES):
            content = await self._reserve(upload, found)
            await self._write(upload, content, found)
            picture = found.picture
            done = Finished(
                file=upload.file,
                ref=ref,
                content=content,
                size=found.size if picture is None else len(picture.content),
                width=picture.width if picture else None,
                height=picture.height if picture else None,
                animated=bool(picture and picture.animated),
                large=bool(picture and picture.large),
            )
            if await self._records.finish(done, self._clock.wall_ms()):
                return done
            if content != upload.content:
                # The content was doomed while we wrote: what we wrote is known to nobody now.
                await self._store.delete([_key(content, name) for name in VARIANTS])
        raise Internal("the upload could not be kept; try again")

    async def _reserve(self, upload: Upload, found: Inspected) -> str:
        # The same bytes as another type are another content: a picture is converted, a plain file is not.
        digest = found.digest and hashlib.sha256(f"{upload.type}\0{found.digest}".encode()).hexdigest()
        fresh = upload.content or _new_id()
        return await self._records.reserve(upload.staging, digest, fresh, self._clock.wall_ms())

    async def _write(self, upload: Upload, content: str, found: Inspected) -> None:
        if found.picture is None:
            await self._copy(upload, _key(content, "original"))
            return
        picture = found.picture
        # The original last: once it is there, all of it is.
        await self._store.put(_key(content, "small"), picture.small.data, type=picture.small.type)
        if picture.large is not None:
            await self._store.put(_key(content, "large"), picture.large.data, type=picture.large.type)
        await self._store.put(_key(content, "original"), picture.content, type=upload.type)

    async def _copy(self, upload: Upload, key: str) -> None:
        if key == upload.staging:
            return  # parts are joined where they are to stay
        if upload.part_size:
            with contextlib.suppress(NotFound):
                await self._store.stat(key)
                return  # large: not copied onto itself for the sake of looking alike
        await self._store.copy(upload.staging, key)

    # --- and then

    async def cancel(self, user: str, request: CancelUpload) -> None:
        upload = await self._records.mine(user, request.file)
        await self._records.drop(user, request.file)
        self._telemetry.upload("cancelled")
        with contextlib.suppress(ChatError):  # the sweep does it otherwise
            await self._clear([upload.staging])

    async def links(self, user: str, request: AskLinks) -> FileLinks:
        found = {upload.file: upload for upload in await self._records.readable(user, request.files)}
        return FileLinks(files=[self._linked(found[file]) for file in dict.fromkeys(request.files) if file in found])

    def _linked(self, upload: Upload) -> LinkedFile:
        assert upload.content is not None
        shown = may_be_shown(upload.type)
        link = self._store.download_link(
            _key(upload.content, "original"),
            seconds=self._settings.link_seconds,
            name=upload.name,
            type=upload.type if shown else "application/octet-stream",
            inline=shown,
        )
        return LinkedFile(
            file=upload.file,
            name=upload.name,
            type=upload.type,
            size=upload.stored_size,
            url=link.url,
            expires_at=link.expires_at,
            small=self._preview(upload, "small") if upload.width else UNSET,
            large=self._preview(upload, "large") if upload.large else UNSET,
            width=_or_unset(upload.width),
            height=_or_unset(upload.height),
        )

    def _preview(self, upload: Upload, variant: str) -> str:
        assert upload.content is not None
        key = _key(upload.content, variant)
        return self._store.download_link(key, seconds=self._settings.link_seconds, inline=True).url

    async def sweep(self) -> int:
        now = self._clock.wall_ms()
        gone = await self._records.expire(now)
        while keys := await self._records.stagings(now, SWEEP_BATCH):
            await self._clear(keys)
            await self._records.forget_stagings(keys)
            gone += len(keys)
        while contents := await self._records.doom(now, SWEEP_BATCH):
            await self._store.delete([_key(content, name) for content in contents for name in VARIANTS])
            await self._records.forget(contents)
            gone += len(contents)
        return gone

    async def _clear(self, stagings: Sequence[str]) -> None:
        for key in stagings:
            await self._store.abort_parts(key)
        # What was joined from parts is a content already, and goes with it.
        await self._store.delete([key for key in stagings if key.startswith("upload/")])


@contextlib.asynccontextmanager
async def open_files(
    store: ObjectStore,
    records: FileRecords,
    clock: Clock,
    settings: FilesSettings,
    telemetry: ObjectTelemetry | None = None,
) -> AsyncIterator[StoredFiles]:
    """The service with its pool of threads."""
    intake = Intake(settings, telemetry)
    try:
        yield StoredFiles(store, records, intake, clock, settings, telemetry)
    finally:
        await intake.aclose()


def _new_id() -> str:
    return secrets.token_hex(16)


def _key(content: str, variant: str) -> str:
    return f"file/{content}/{variant}"


def _request(link: Link) -> UploadRequest:
    return UploadRequest(method=link.method, url=link.url, headers=dict(link.headers))


def _facts(upload: Upload) -> FileFacts:
    return FileFacts(
        file=upload.file,
        name=upload.name,
        type=upload.type,
        size=upload.stored_size,
        width=_or_unset(upload.width),
        height=_or_unset(upload.height),
        animated=upload.animated or UNSET,
    )


def _or_unset(value: int | None) -> int | UnsetType:
    return UNSET if value is None else value
