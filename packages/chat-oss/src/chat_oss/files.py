"""The upload flow: begin → the client writes to the store → finish verifies → a file with links; and the sweep.

::

    begun ──finish──► finished ──a message──► sent ──recall──► gone
      └───────── over, cancelled, not sent in time ─────────────┘

What is inspected is the copy that others will read (`chat_oss.keys`), not what the client may write to meanwhile. A
content that somebody sends again to the same conversation is stored once: what that may tell, and to whom, is in
`docs/decisions.md`.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import secrets
from collections.abc import AsyncIterator, Sequence
from typing import Annotated
from weakref import WeakValueDictionary

from attrs import evolve, frozen
from chat_common.clock import Clock
from chat_common.errors import ChatError, Conflict, Invalid, NotFound, Unavailable
from chat_common.ports.database import Database
from chat_common.ports.files import (
    AskLinks,
    BeginUpload,
    CancelUpload,
    FileFacts,
    FileLinks,
    FileRights,
    FileRoom,
    FinishUpload,
    OwnFile,
    PartLink,
    PartLinks,
    UploadBegun,
    UploadParts,
    UploadRequest,
)
from chat_common.ports.objects import Link, ObjectStore, ObjectTelemetry
from chat_common.settings import setting
from msgspec import UNSET, Meta

from chat_oss.intake import Inspected, Intake, IntakeSettings
from chat_oss.keys import VARIANTS, content_key, staging_key
from chat_oss.leftovers import Leftovers
from chat_oss.linker import Linker, facts
from chat_oss.policy import Policy, PolicySettings
from chat_oss.quota import FULL_SECONDS
from chat_oss.sweep import clear_stagings, sweep
from chat_oss.telemetry import Silent
from chat_oss.upload import GRACE_MS, Finished, Upload, profile_place
from chat_oss.uploads import Uploads

WRONG_TRIES = 3
"""So often may an upload be found to be wrong: each time costs reading all of it."""
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
        8, help="Pictures that are verified at once, and other uploads: bounds the memory."
    )


class StoredFiles:
    """`chat_common.ports.files.Files` over an object store and its tables."""

    def __init__(
        self,
        store: ObjectStore,
        uploads: Uploads,
        leftovers: Leftovers,
        intake: Intake,
        clock: Clock,
        settings: FilesSettings,
        telemetry: ObjectTelemetry | None = None,
    ) -> None:
        self._store = store
        self._uploads = uploads
        self._leftovers = leftovers
        self._intake = intake
        self._clock = clock
        self._settings = settings
        self._telemetry = telemetry or Silent()
        self._policy = Policy(settings)
        self._linker = Linker(store, settings.link_seconds)
        # Apart, for pictures take seconds: whatever else is finished does not wait for them.
        self._places = {picture: asyncio.Semaphore(settings.finish_at_once) for picture in (False, True)}
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    # --- begin

    async def begin(self, user: str, request: BeginUpload) -> UploadBegun:
        place = profile_place(user) if request.conversation is UNSET else request.conversation
        self._policy.check(request.type, request.size)
        if place == profile_place(user) and not self._policy.is_picture(request.type):
            raise Invalid("type: The file for a profile must be a picture.", field="type")
        free = await self._store.free()
        if free is not None and request.size > free:
            raise Unavailable("This server has no room for this file. Try again later.", retry_after=FULL_SECONDS)
        now = self._clock.wall_ms()
        file = _new_id()
        part_size = self._policy.part_size(request.type, request.size)
        seconds = self._settings.parts_seconds if part_size else self._settings.upload_seconds
        upload = Upload(
            file=file,
            user=user,
            conversation=place,
            name=request.name,
            type=request.type,
            size=request.size,
            state="begun",
            expires_at=now + seconds * 1000,
            staging=staging_key(file),
            part_size=part_size,
            sha256=request.sha256,
        )
        await self._uploads.begin(upload, self._policy.quota, now)
        self._telemetry.upload("begun")
        if part_size:
            # Should this process end here, the sweep still finds the parts by their key.
            try:
                number = await self._store.begin_parts(upload.staging, type=upload.type)
                await self._uploads.set_upload(file, number)
            except BaseException:
                # A store that is away costs nobody his day's quota, however often he tries.
                await asyncio.shield(self._uploads.undo(upload, now))
                raise
            count = -(-request.size // part_size)
            return UploadBegun(file=file, expires_at=upload.expires_at, part_size=part_size, parts=count)
        link = self._store.upload_link(upload.staging, size=upload.size, type=upload.type, seconds=seconds)
        return UploadBegun(file=file, expires_at=upload.expires_at, put=_request(link))

    async def parts(self, user: str, request: UploadParts) -> PartLinks:
        upload = self._unfinished(await self._uploads.own(user, request.file))
        if upload.upload is None:
            raise Conflict("This upload has no parts: use the link that upload.begin gave.")
        have = await self._store.parts(upload.staging, upload.upload)
        seconds = max(1, (upload.expires_at - self._clock.wall_ms()) // 1000)
        links = []
        for number in request.numbers:
            size = min(upload.part_size, upload.size - (number - 1) * upload.part_size)
            if size <= 0:
                raise Conflict(f"numbers: This upload has no part {number}.", field="numbers")
            link = self._store.part_link(upload.staging, upload.upload, number, size=size, seconds=seconds)
            links.append(PartLink(number=number, size=size, put=_request(link)))
        return PartLinks(links=links, have=[part.number for part in have], expires_at=upload.expires_at)

    def _unfinished(self, upload: Upload) -> Upload:
        if upload.state != "begun":
            raise Conflict("This upload is finished.")
        if upload.expires_at <= self._clock.wall_ms():
            raise NotFound("This file does not exist.")
        return upload

    # --- finish

    async def finish(self, user: str, ref: str, request: FinishUpload) -> FileFacts:
        try:
            done = await self._finish(user, ref, request)
        except TimeoutError:
            self._telemetry.upload(Unavailable.code)
            raise Unavailable("The upload could not be verified in time. Finish it again.") from None
        except ChatError as error:
            self._telemetry.upload(error.code)
            raise
        self._telemetry.upload("finished")
        return done

    async def _finish(self, user: str, ref: str, request: FinishUpload) -> FileFacts:
        # One at a time for each user: nobody holds all the places, and a repeated call finds the first one's outcome.
        turn = self._turns.setdefault(user, asyncio.Lock())
        async with turn, asyncio.timeout(FINISH_SECONDS):
            upload = await self._uploads.own(user, request.file)
            if upload.state == "finished" and upload.ref == ref:
                return facts(upload)
            self._unfinished(upload)
            async with self._places[self._policy.is_picture(upload.type)]:
                if upload.part_size:
                    await self._join(upload)
                try:
                    done = await self._accept(upload, ref, request.sha256 or upload.sha256)
                except Invalid as error:
                    raise await self._wrong(upload, error) from error
        return facts(
            evolve(
                upload,
                type=done.type,
                stored_size=done.size,
                width=done.width,
                height=done.height,
                animated=done.animated,
                unstripped=done.unstripped,
            )
        )

    async def _join(self, upload: Upload) -> None:
        if upload.upload is None:
            raise Conflict("Nothing has been uploaded yet.")
        try:
            parts = await self._store.parts(upload.staging, upload.upload)
        except NotFound:
            return  # joined by an earlier finish that did not come to its end; else nothing will be found
        size = sum(part.size for part in parts)
        if size != upload.size:
            raise Conflict(f"Only {size} of {upload.size} bytes have been uploaded.", limit=upload.size)
        with contextlib.suppress(NotFound):
            await self._store.complete_parts(upload.staging, upload.upload, parts)

    async def _wrong(self, upload: Upload, error: Invalid) -> Invalid:
        # What was joined from parts cannot be put right by another try.
        if not await self._uploads.failed(upload.file, 1 if upload.part_size else WRONG_TRIES):
            return error
        with contextlib.suppress(ChatError):
            await clear_stagings(self._store, [upload.staging])
        return Invalid(f"{error.message} Begin a new upload.", field=error.field, limit=error.limit)

    async def _accept(self, upload: Upload, ref: str, sha256: str | None) -> Finished:
        written = _new_id()
        await self._uploads.reserve(upload.staging, written, self._clock.wall_ms())
        try:
            found = await self._fill(written, upload, sha256)
        except Invalid:
            await self._discard(written)
            raise
        picture = found.picture
        done = Finished(
            file=upload.file,
            ref=ref,
            content=written,
            type=found.type,
            size=found.size,
            width=picture.width if picture else None,
            height=picture.height if picture else None,
            animated=bool(picture and picture.animated),
            large=bool(picture and picture.large),
            utf8=found.utf8,
            unstripped=found.unstripped,
        )
        digest = found.digest and _scoped(found.digest, found.type, upload)
        chosen = await self._uploads.finish(done, digest, self._clock.wall_ms())
        # The link still works for a while: the sweep looks again when it is over.
        await self._discard(written if chosen != written else None, upload.staging)
        return done

    async def _fill(self, content: str, upload: Upload, sha256: str | None) -> Inspected:
        """Write what was uploaded as a new content and say what it is; the checks are made on what was written."""
        original = content_key(content, "original")

        async def inspect(key: str) -> Inspected:
            return await self._intake.inspect(self._store, key, type=upload.type, size=upload.size, sha256=sha256)

        if self._policy.is_picture(upload.type):
            found = await inspect(upload.staging)
        else:
            try:
                await self._store.copy(upload.staging, original, type=upload.type, size=upload.size)
            except NotFound:
                raise Conflict("Nothing has been uploaded yet.") from None
            found = await inspect(original)
        picture = found.picture
        if picture is None:
            return found
        await self._store.put(content_key(content, "small"), picture.small.data, type=picture.small.type)
        if picture.large is not None:
            await self._store.put(content_key(content, "large"), picture.large.data, type=picture.large.type)
        await self._store.put(original, picture.content, type=found.type)
        return found

    async def _discard(self, content: str | None, *others: str) -> None:
        with contextlib.suppress(ChatError):  # the sweep does it otherwise
            await self._store.delete([*others, *(content_key(content, name) for name in VARIANTS if content)])

    # --- and then

    async def cancel(self, user: str, request: CancelUpload) -> None:
        upload = await self._uploads.own(user, request.file)
        await self._uploads.drop(user, request.file)
        self._telemetry.upload("cancelled")
        with contextlib.suppress(ChatError):  # the sweep does it otherwise
            await clear_stagings(self._store, [upload.staging])

    async def links(self, user: str, request: AskLinks) -> FileLinks:
        found = {upload.file: upload for upload in await self._uploads.readable(user, request.files)}
        return FileLinks(
            files=[self._linker.linked(found[file]) for file in dict.fromkeys(request.files) if file in found]
        )

    async def avatar(self, file: str, *, large: bool) -> Link:
        return self._linker.avatar(await self._uploads.worn(file), large=large)

    async def own(self, user: str, after: str, limit: int) -> Sequence[OwnFile]:
        return await self._uploads.own_files(user, after, limit)

    @contextlib.asynccontextmanager
    async def content(self, user: str, file: str) -> AsyncIterator[AsyncIterator[bytes]]:
        upload = await self._uploads.own(user, file)
        if upload.content is None:
            raise NotFound("This file does not exist.")
        async with self._store.get(content_key(upload.content, "original")) as chunks:
            yield chunks

    async def room(self) -> FileRoom:
        try:
            free = await self._store.free()
        except Unavailable:
            free = None
        return FileRoom(kept=await self._leftovers.kept(), total=self._settings.total_bytes, free=free)

    async def sweep(self) -> int:
        gone = await sweep(self._store, self._leftovers, self._clock.wall_ms())
        room = await self.room()
        self._telemetry.room(room.kept, room.free)
        return gone


@contextlib.asynccontextmanager
async def open_files(
    store: ObjectStore,
    database: Database,
    rights: FileRights,
    clock: Clock,
    settings: FilesSettings,
    telemetry: ObjectTelemetry | None = None,
) -> AsyncIterator[StoredFiles]:
    """The service over a store and the tables of `chat_oss.tables`, with its processes for pictures."""
    intake = Intake(settings, Policy(settings), telemetry)
    try:
        yield StoredFiles(store, Uploads(database, rights), Leftovers(database), intake, clock, settings, telemetry)
    finally:
        await intake.aclose()


def _new_id() -> str:
    return secrets.token_hex(16)


def _scoped(digest: str, type: str, upload: Upload) -> str:
    """What two uploads must have in common to be stored once: see `docs/files.md`.

    The same bytes as another type are another content: a picture is converted, a plain file is not.
    """
    return hashlib.sha256("\0".join((upload.user, upload.conversation, type, digest)).encode()).hexdigest()


def _request(link: Link) -> UploadRequest:
    return UploadRequest(method=link.method, url=link.url, headers=dict(link.headers))
