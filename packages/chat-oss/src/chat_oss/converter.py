"""Converts pictures in processes of their own: what a stranger's picture does to a decoder, it does to nobody else.

A thread would not do: decoders hold the interpreter's lock for seconds, and no thread can be stopped. A process is
killed at the limit, or dies of a picture; the next picture gets a new one. This is not `multiprocessing`, which runs
the application's main module again. What the process may take is said in `chat_oss.picture_process`.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import msgspec
from chat_common.errors import Invalid, Unavailable

from chat_oss.picture_process import Answer, Wanted, command, memory_limit, read, write
from chat_oss.picture_settings import UNREADABLE, Picture, PictureSettings

START_SECONDS = 60.0
"""A process that is not ready by then never will be."""
DEATHS = 3
"""So often a process may be killed over one picture; then the picture is why."""
_KILLERS = frozenset({signal.SIGKILL, signal.SIGTERM, signal.SIGHUP})
"""From outside: the kernel short of memory, or a person. A decoder that crashes dies of others."""
_REMEMBERED = 256
_DYING_SECONDS = 5.0

log = logging.getLogger(__name__)


class _Process:
    """One that converts. Its calls block, for threads; `kill` from another thread ends them."""

    def __init__(self, command: Sequence[str]) -> None:
        try:
            # Without our environment: keys and passwords stand in it.
            self._child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={})
        except OSError as error:
            raise Unavailable(f"No process can be started for pictures ({error.strerror}). Try again later.") from error
        self.late = False

    def exchange(self, message: bytes, seconds: float) -> bytes | None:
        """Its next answer. None: it has died, killed after ``seconds`` (then it is ``late``) or by itself."""
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        limit = threading.Timer(seconds, self._expire)
        limit.start()
        try:
            if message:
                write(self._child.stdin, message)
            return read(self._child.stdout)
        except OSError:  # it has stopped reading
            return None
        finally:
            limit.cancel()
            limit.join()  # from now on it is known whether it was late

    @property
    def alive(self) -> bool:
        return self._child.poll() is None

    def _expire(self) -> None:
        self.late = True
        self.kill()

    def kill(self) -> None:
        self._child.kill()

    def died(self) -> int | None:
        """How it ended, as `subprocess` tells it, once it answers no more. None: it lives, in a fashion."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._child.wait(_DYING_SECONDS)
        return None

    def end(self) -> None:
        """Kill it and leave nothing of it behind."""
        self.kill()
        for pipe in (self._child.stdin, self._child.stdout):
            with contextlib.suppress(OSError):  # what it has not read is lost
                assert pipe is not None
                pipe.close()
        self._child.wait()


class Converter:
    """`chat_oss.pictures.process` beside the event loop: at most ``processes`` at once, each for at most ``seconds``.

    Processes begin with the first pictures and stay for the next. Close it with `aclose`.
    """

    def __init__(self, settings: PictureSettings, *, processes: int, seconds: float) -> None:
        self._settings = settings
        self._seconds = seconds
        self._threads = ThreadPoolExecutor(processes, thread_name_prefix="chat-pictures")
        self._idle: deque[_Process] = deque()
        self._running: set[_Process] = set()
        self._closed = False
        self._deaths: dict[str, int] = {}
        self._counting = threading.Lock()

    async def convert(self, data: bytes, type: str) -> Picture:
        """What becomes of a picture. `Invalid` (``file``, ``size``) when it cannot be taken or takes too long.

        `Unavailable` when no process can be had, or it was killed from outside: fewer than `DEATHS` times over this
        picture.
        """
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._convert, data, type)

    def _convert(self, data: bytes, type: str) -> Picture:
        process = self._take()
        answered = process.exchange(msgspec.msgpack.encode(Wanted(data, type, self._settings)), self._seconds)
        if answered is None or process.late:
            status = None if process.late or self._closed else process.died()
            self._end(process)
            if self._closed:
                raise Unavailable("The service for pictures is closing. Try again later.")
            if process.late:
                text = f"file: This picture takes over {self._seconds:g} seconds to convert. Send a smaller one."
                raise Invalid(text, field="file", limit=int(self._seconds))
            if self._killed(data, type, status):
                raise Unavailable("The picture could not be converted just now. Try again.")
            raise Invalid(UNREADABLE, field="file")
        self._idle.append(process)
        if self._deaths:
            with self._counting:
                self._deaths.pop(hashlib.sha256(data).hexdigest(), None)
        answer = msgspec.msgpack.decode(answered, type=Answer)
        if answer.picture is None:
            raise Invalid(answer.refused, field=answer.field, limit=answer.limit)
        return answer.picture

    def _killed(self, data: bytes, type: str, status: int | None) -> bool:
        """Say in the log how a process ended; whether the picture may be tried again."""
        digest = hashlib.sha256(data).hexdigest()
        about = f"{len(data)} bytes of type {type}, SHA-256 {digest}"
        if status is None or -status not in _KILLERS:
            log.warning("the process for pictures %s over a picture: %s", _manner(status), about)
            return False
        with self._counting:
            times = self._deaths.pop(digest, 0) + 1
            self._deaths[digest] = times  # now the newest
            if len(self._deaths) > _REMEMBERED:
                del self._deaths[next(iter(self._deaths))]
        text = "the process for pictures %s from outside, time %d of %d over this picture (out of memory?): %s"
        log.warning(text, _manner(status), times, DEATHS, about)
        return times < DEATHS

    def _take(self) -> _Process:
        while self._idle:
            try:
                process = self._idle.pop()
            except IndexError:  # another thread was quicker
                break
            if process.alive:
                return process
            self._end(process)
        return self._begin()

    def _begin(self) -> _Process:
        process = _Process(command(memory_limit(self._settings), self._seconds))
        self._running.add(process)
        if self._closed or process.exchange(b"", START_SECONDS) is None:
            self._end(process)
            raise Unavailable("The process for pictures does not start. Try again later.")
        return process

    def _end(self, process: _Process) -> None:
        process.end()
        self._running.discard(process)

    async def aclose(self) -> None:
        """End all of them; conversions under way fail."""
        self._closed = True
        self._threads.shutdown(wait=False, cancel_futures=True)
        for process in list(self._running):
            process.kill()
        await asyncio.to_thread(self._threads.shutdown)
        for process in list(self._running):
            self._end(process)


def _manner(status: int | None) -> str:
    if status is None:
        return "answered no more"
    if status >= 0:
        return f"ended with status {status}"
    try:
        return f"was ended by {signal.Signals(-status).name}"
    except ValueError:  # one without a name
        return f"was ended by signal {-status}"
