"""The process that converts pictures: what it is started with, what it may take, and the words between the two.

Between the two: a length of 8 bytes, then msgpack; an empty first answer: it is ready. A decoder that a stranger's
picture has taken over finds no environment with secrets in it, can open few files and write none, and is the first to
go when memory is short; memory and time end by themselves, also when nobody is left to end it.
"""

from __future__ import annotations

import contextlib
import math
import os
import resource
import signal
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import msgspec
from attrs import frozen
from chat_common.decoding import prepare
from chat_common.errors import Invalid

from chat_oss.picture_settings import Picture, PictureSettings

_PROGRAM = (
    "import sys; memory, seconds, *sys.path[:] = sys.argv[1:]; "
    "from chat_oss.picture_process import work; work(int(memory), float(seconds))"
)
_INTERPRETER_BYTES = 512 * 1024 * 1024
"""Address space that Python, Pillow and three times the largest picture take before a pixel is decoded."""
_PIXEL_BYTES = 40
"""The most that decoding, turning and encoding took for a pixel (WebP with transparency: 33)."""
_OPEN_FILES = 32
"""Pillow imports its readers when it first needs them, one file at a time."""
_EXTRA_SECONDS = 2


@frozen
class Wanted:
    """A picture to convert."""

    data: bytes
    type: str
    settings: PictureSettings


@frozen
class Answer:
    """A picture, or why there is none."""

    picture: Picture | None = None
    refused: str = ""
    field: str | None = None
    limit: int | None = None


prepare(Wanted, Answer)


def memory_limit(settings: PictureSettings) -> int:
    """Bytes of address space that a process may take for the largest picture that these settings let in."""
    return _INTERPRETER_BYTES + _PIXEL_BYTES * settings.max_pixels


def command(memory: int, seconds: float) -> Sequence[str]:
    """What starts the process. ``seconds``: CPU time for one picture, after which it ends by itself."""
    return [sys.executable, "-c", _PROGRAM, str(memory), str(seconds), *sys.path]


def work(memory: int, seconds: float) -> None:
    """Convert what comes in, until nothing comes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all; the application ends this
    warnings.simplefilter("ignore")
    _confine(memory)
    from chat_oss.pictures import process

    source, target = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # should a library print, it prints among the errors
    write(target, b"")
    while (message := read(source)) is not None:
        wanted = msgspec.msgpack.decode(message, type=Wanted)
        _allow_seconds(seconds)
        try:
            answer = Answer(process(wanted.data, wanted.type, wanted.settings))
        except Invalid as error:
            answer = Answer(refused=error.message, field=error.field, limit=error.limit)
        write(target, msgspec.msgpack.encode(answer))


def _confine(memory: int) -> None:
    # Lowered alone: a limit that is lower already, as in a container, stays.
    for kind, most in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_NOFILE, _OPEN_FILES),
        (resource.RLIMIT_FSIZE, 0),  # a pipe does not count as a file
        (resource.RLIMIT_CORE, 0),  # the picture would lie in it
    ):
        hard = resource.getrlimit(kind)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (most, most))
    with contextlib.suppress(OSError):  # not Linux
        Path("/proc/self/oom_score_adj").write_text("1000", "ascii")


def _allow_seconds(seconds: float) -> None:
    """CPU time until a signal ends the process: a backstop for the clock of the application, should that have died."""
    used = time.process_time()
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    most = math.ceil(used + seconds) + _EXTRA_SECONDS
    resource.setrlimit(resource.RLIMIT_CPU, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


def write(pipe: IO[bytes], message: bytes) -> None:
    """Send one message."""
    pipe.write(len(message).to_bytes(8, "big"))
    pipe.write(message)
    pipe.flush()


def read(pipe: IO[bytes]) -> bytes | None:
    """Receive one message; None when the other end is gone."""
    head = pipe.read(8)
    if len(head) < 8:
        return None
    length = int.from_bytes(head, "big")
    message = pipe.read(length)
    return message if len(message) == length else None
