"""A `Folder` for an event loop: its work in threads, the system's errors as ours."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from chat_common.errors import Unavailable

from chat_oss.folder import Draft, Folder

T = TypeVar("T")

FULL_SECONDS = 600.0
"""When to try again on a full disk: somebody has to make room first."""


class Disk:
    """``threads``: most file operations at once. ``min_free``: bytes of the disk that no object may take."""

    def __init__(self, folder: Folder, threads: int, min_free: int = 0) -> None:
        self.folder = folder
        self._min_free = min_free
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="chat-objects")

    async def run(self, work: Callable[..., T], *arguments: Any) -> T:
        """Run file work in a thread; the system's errors become `Unavailable`."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)
        except OSError as error:
            raise Unavailable(f"The object folder fails: {error.strerror or error}.") from error

    async def free(self) -> int:
        """Bytes that objects may still take."""
        return max(0, await self.run(self.folder.free) - self._min_free)

    async def require(self, size: int) -> None:
        """`Unavailable` unless there is room for so many bytes: what is written without looking fills the disk, and the
        database on it can write no more."""
        if size > await self.free():
            raise Unavailable(
                f"The disk of the object folder has no room for {size} bytes: {self._min_free} bytes are kept free.",
                retry_after=FULL_SECONDS,
            )

    @contextlib.asynccontextmanager
    async def draft(self) -> AsyncIterator[Draft]:
        """A draft that is gone at the end unless it was committed."""
        draft = await self.run(self.folder.draft)
        try:
            yield draft
        finally:
            # Not awaited as a whole when cancelled: the thread ends it all the same, after what it still writes.
            await asyncio.shield(self.run(draft.drop))

    async def aclose(self) -> None:
        await asyncio.to_thread(self._threads.shutdown)
