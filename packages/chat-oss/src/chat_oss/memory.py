"""A table of files in memory: for use without a database, and for tests.

What it knows ends with the process: what lies in the store then is nobody's, and is not swept by the next one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from attrs import define, evolve, field
from chat_common.errors import Conflict, NotFound, RateLimited, Unavailable
from chat_common.ports.files import GRACE_MS, UNSENT_MS, Finished, Quota, Upload

DAY_MS = 86_400_000


@define
class _Content:
    held_at: int
    digest: str | None = None
    doomed: bool = False


@define
class _Staging:
    until: int
    user: str
    conversation: str


@define
class MemoryFileRecords:
    """`chat_common.ports.files.FileRecords`. The application says who may do what, and what becomes of files.

    ``check_send(user, conversation)`` raises what `begin` and `finish` shall raise; ``may_read(user, upload)``: of sent
    files.
    """

    check_send: Callable[[str, str], None]
    may_read: Callable[[str, Upload], bool]
    _uploads: dict[str, Upload] = field(factory=dict, init=False)
    _finished_at: dict[str, int] = field(factory=dict, init=False)
    _contents: dict[str, _Content] = field(factory=dict, init=False)
    _stagings: dict[str, _Staging] = field(factory=dict, init=False)
    _failures: dict[str, int] = field(factory=dict, init=False)
    _used: dict[tuple[str, int], list[int]] = field(factory=dict, init=False)

    # --- for the application

    def send(self, user: str, file: str) -> Upload:
        """Publish a finished file of the user's: now others may read it. `NotFound`; `Conflict`: sent before."""
        upload = self._uploads.get(file)
        if upload is None or upload.user != user or upload.state != "finished":
            raise NotFound("file not found")
        if upload.sent:
            raise Conflict("this file was sent before")
        self._uploads[file] = upload = evolve(upload, sent=True)
        return upload

    def recall(self, file: str) -> None:
        """Take a sent file back: nobody may read it from now on; the sweep removes it."""
        self._uploads.pop(file, None)

    def uploads(self) -> Sequence[Upload]:
        return list(self._uploads.values())

    def contents(self) -> Sequence[str]:
        """Every content that is registered."""
        return list(self._contents)

    # --- FileRecords

    async def begin(self, upload: Upload, quota: Quota, now: int) -> None:
        self.check_send(upload.user, upload.conversation)
        used = self._used.setdefault((upload.user, now // DAY_MS), [0, 0])
        check_quota(used[0], used[1], upload.size, quota, now)
        used[0] += 1
        used[1] += upload.size
        self._uploads[upload.file] = upload
        self._stagings[upload.staging] = _Staging(upload.expires_at, upload.user, upload.conversation)

    async def undo(self, upload: Upload, now: int) -> None:
        if self._uploads.pop(upload.file, None) is not None:
            used = self._used[upload.user, now // DAY_MS]
            used[0] -= 1
            used[1] -= upload.size

    async def set_upload(self, file: str, upload: str) -> None:
        if file in self._uploads:
            self._uploads[file] = evolve(self._uploads[file], upload=upload)

    async def mine(self, user: str, file: str) -> Upload:
        upload = self._uploads.get(file)
        if upload is None or upload.user != user:
            raise NotFound("file not found")
        return upload

    async def reserve(self, staging: str, content: str, now: int) -> None:
        held = self._stagings.get(staging)
        if held is None:
            raise Conflict("this upload is finished or gone")
        self.check_send(held.user, held.conversation)
        self._contents[content] = _Content(now)

    async def finish(self, done: Finished, digest: str | None, now: int) -> str:
        upload = self._uploads.get(done.file)
        if upload is not None and upload.state == "finished" and upload.ref == done.ref and upload.content:
            return upload.content
        if upload is None or upload.state != "begun":
            raise Conflict("this upload is finished or gone")
        self.check_send(upload.user, upload.conversation)
        live = {name: one for name, one in self._contents.items() if not one.doomed}
        kept = next((name for name, one in live.items() if digest and one.digest == digest), done.content)
        if kept not in live:
            raise Unavailable("this upload took too long; try again")
        live[kept].digest = live[kept].digest or digest
        if done.content in live:
            live[done.content].held_at = 0
        self._finished_at[done.file] = now
        self._failures.pop(done.file, None)
        self._uploads[done.file] = evolve(
            upload,
            state="finished",
            ref=done.ref,
            content=kept,
            stored_size=done.size,
            width=done.width,
            height=done.height,
            animated=done.animated,
            large=done.large,
        )
        return kept

    async def failed(self, file: str, most: int) -> bool:
        upload = self._uploads.get(file)
        if upload is None or upload.state != "begun":
            return False
        times = self._failures.pop(file, 0) + 1
        if times < most:
            self._failures[file] = times
            return False
        del self._uploads[file]
        return True

    async def drop(self, user: str, file: str) -> None:
        if (await self.mine(user, file)).sent:
            raise Conflict("this file stands in a message")
        del self._uploads[file]
        self._failures.pop(file, None)

    async def readable(self, user: str, files: Sequence[str]) -> Sequence[Upload]:
        found = [self._uploads[file] for file in files if file in self._uploads]
        return [upload for upload in found if upload.sent and self.may_read(user, upload)]

    async def expire(self, now: int) -> int:
        over = [
            file
            for file, upload in self._uploads.items()
            if (upload.state == "begun" and upload.expires_at <= now)
            or (upload.state == "finished" and not upload.sent and self._finished_at[file] + UNSENT_MS <= now)
        ]
        for file in over:
            del self._uploads[file]
            self._failures.pop(file, None)
        return len(over)

    async def stagings(self, now: int, limit: int) -> Sequence[str]:
        return [key for key, one in self._stagings.items() if one.until + GRACE_MS <= now][:limit]

    async def forget_stagings(self, keys: Sequence[str]) -> None:
        for key in keys:
            self._stagings.pop(key, None)

    async def doom(self, now: int, limit: int) -> Sequence[str]:
        used = {upload.content for upload in self._uploads.values()}
        for name, content in self._contents.items():
            if name not in used and content.held_at + GRACE_MS <= now:
                content.doomed = True
        return [name for name, content in self._contents.items() if content.doomed][:limit]

    async def forget(self, contents: Sequence[str]) -> None:
        for name in contents:
            self._contents.pop(name, None)


def check_quota(files: int, bytes: int, size: int, quota: Quota, now: int) -> None:
    """`RateLimited` until the next day when one more upload of ``size`` would go over the quota."""
    again = (DAY_MS - now % DAY_MS) / 1000
    if files >= quota.files:
        raise RateLimited(f"at most {quota.files} uploads a day", limit=quota.files, retry_after=again)
    if bytes + size > quota.bytes:
        raise RateLimited(f"at most {quota.bytes} bytes a day", field="size", limit=quota.bytes, retry_after=again)
