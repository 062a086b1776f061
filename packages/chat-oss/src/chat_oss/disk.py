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


class Disk:
    """``threads``: most file operations at once."""

    def __init__(self, folder: Folder, threads: int) -> None:
        self.folder = folder
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="chat-objects")

    async def run(self, work: Callable[..., T], *arguments: Any) -> T:
        """Run file work in a thread; the system's errors become `Unavailable`."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)
        except OSError as error:
            raise Unavailable(f"the object folder fails: {error.strerror or error}") from error

    @contextlib.asynccontextmanager
    async def draft(self) -> AsyncIterator[Draft]:
        """A draft that is gone at the end unless it was kept."""
        draft = await self.run(self.folder.draft)
        try:
            yield draft
        finally:
            # Not awaited as a whole when cancelled: the thread ends it all the same, after what it still writes.
            await asyncio.shield(self.run(draft.drop))

    async def aclose(self) -> None:
        await asyncio.to_thread(self._threads.shutdown)
