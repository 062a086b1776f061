"""Pictures that are made to hurt: they are refused, or cost a process that nobody else is in."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import psutil
import pytest
from chat_common.errors import Invalid, Unavailable
from chat_oss.converter import Converter
from chat_oss.files import FilesSettings
from chat_oss.picture_process import memory_limit
from chat_oss.picture_settings import Picture, PictureSettings
from chat_oss.pictures import process
from PIL import Image

from tests.chat_oss import pictures
from tests.chat_oss.flow import local_flow
from tests.support.waiting import until

SETTINGS = PictureSettings()
MIB = 1024 * 1024


@contextlib.asynccontextmanager
async def opened(seconds: float = 60.0, processes: int = 1) -> AsyncIterator[Converter]:
    converter = Converter(SETTINGS, processes=processes, seconds=seconds)
    try:
        yield converter
    finally:
        await converter.aclose()


def children(converter: Converter) -> list[psutil.Process]:
    return [psutil.Process(one._child.pid) for one in converter._running]


async def stopped(converter: Converter) -> psutil.Process:
    """A process that is there, and stands still."""
    await converter.convert(pictures.jpeg(), "image/jpeg")
    [child] = children(converter)
    child.suspend()
    await until(lambda: child.status() == psutil.STATUS_STOPPED)
    return child


MEASURING = """
import re, sys
from chat_oss.pictures import PictureSettings, process

def peak():  # resource.getrusage would begin with what the parent took
    return int(re.search(r"VmHWM:\\s+([0-9]+) kB", open("/proc/self/status").read())[1]) * 1024

data = open(sys.argv[1], "rb").read()
before = peak()
process(data, "image/webp", PictureSettings())
print(peak() - before)
"""

# --- the nastiest that 20 MiB can be filled with, by what it is made of


def jpeg_of_segments() -> bytes:
    plain = pictures.encoded(pictures.gradient(10, 10), "JPEG")
    return plain[:2] + b"\xff\xe5\x00\x02" * (5 * MIB) + plain[2:]


def png_of_chunks() -> bytes:
    plain = pictures.encoded(pictures.gradient(10, 10), "PNG")
    return plain[:33] + b"\0\0\0\0teXt\xb7\x96\x1e\x27" * (20 * MIB // 12) + plain[33:]


def gif_of_extensions() -> bytes:
    plain = pictures.gif()
    return plain[:-1] + b"\x21\xfe\x00" * (20 * MIB // 3) + b"\x3b"


def gif_of_crumbs() -> bytes:
    plain = pictures.gif()
    return plain[:-1] + b"\x21\xfe" + b"\x01x" * (10 * MIB) + b"\0\x3b"


def webp_of_chunks() -> bytes:
    plain = pictures.encoded(pictures.gradient(10, 10), "WEBP")
    body = plain[8:] + b"JUNK\0\0\0\0" * (20 * MIB // 8)
    return b"RIFF" + len(body).to_bytes(4, "little") + body


def webp_without_loss() -> bytes:
    """Its decoder never lets go of the interpreter."""
    return pictures.encoded(
        Image.effect_noise((2400, 2400), 90).convert("RGB"), "WEBP", lossless=True, method=0, quality=0
    )


NASTY = [jpeg_of_segments, png_of_chunks, gif_of_extensions, gif_of_crumbs, webp_of_chunks]


@pytest.mark.parametrize("make", NASTY, ids=lambda make: make.__name__)
def test_a_picture_of_too_many_pieces_is_refused_before_anything_reads_it(
    make: Callable[[], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(*_: object, **__: object) -> None:
        raise AssertionError("Pillow goes through all of them")

    data = make()
    monkeypatch.setattr(Image, "open", read)
    with pytest.raises(Invalid, match=r"made of more than [0-9]+ pieces") as caught:
        process(data, f"image/{make.__name__.split('_')[0]}", SETTINGS)
    assert caught.value.field == "file"
    assert caught.value.limit is not None
    assert caught.value.limit <= 1_000 + len(data) // 64


def test_a_picture_may_have_as_many_pieces_as_it_needs() -> None:
    noise = Image.effect_noise((1200, 900), 90)
    data = pictures.encoded(noise, "GIF")  # 255 bytes a block
    assert len(data) > MIB
    assert process(data, "image/gif", SETTINGS).width == 1200
    frames = [Image.effect_noise((8, 8), 90) for _ in range(300)]
    moving = pictures.encoded(frames[0], "GIF", save_all=True, append_images=frames[1:], loop=0)
    assert process(moving, "image/gif", SETTINGS).animated


async def test_what_a_picture_costs_is_not_paid_by_the_process_of_the_event_loop() -> None:
    """Nothing but another thread of the same process can hold the loop up: counted in the CPU that those used."""
    data = webp_without_loss()
    async with opened() as converter:
        await converter.convert(pictures.jpeg(), "image/jpeg")
        [child] = children(converter)
        paid = child.cpu_times()
        others = time.process_time() - time.thread_time()
        assert (await converter.convert(data, "image/webp")).width == 2400
        others = time.process_time() - time.thread_time() - others
        spent = child.cpu_times()
        cost = spent.user + spent.system - paid.user - paid.system
        assert cost > 0.2
        assert others < cost / 5  # what it takes to hand over 20 MB twice
        for make in NASTY:
            with pytest.raises(Invalid):
                await converter.convert(make(), f"image/{make.__name__.split('_')[0]}")


@pytest.mark.parametrize("orientation", [1, 6])
def test_what_a_picture_takes_in_memory_is_bounded_by_its_pixels(orientation: int, tmp_path: Path) -> None:
    """Lossless WebP, of which a few bytes are as many pixels as one likes."""
    side = 4000
    image = Image.new("RGBA", (side, side), (255, 0, 0, 128))
    data = pictures.encoded(image, "WEBP", lossless=True, method=0, exif=pictures.exif(orientation))
    (tmp_path / "picture").write_bytes(data)
    told = subprocess.run(
        [sys.executable, "-c", MEASURING, tmp_path / "picture"], capture_output=True, text=True, check=True
    )
    assert int(told.stdout) < 20 * side * side


async def test_the_loop_goes_on_while_a_picture_does_not() -> None:
    async with opened() as converter:
        child = await stopped(converter)
        task = asyncio.ensure_future(converter.convert(pictures.jpeg(3000, 2000), "image/jpeg"))
        for _ in range(10_000):
            await asyncio.sleep(0)
        assert not task.done()
        child.resume()
        assert (await task).width == 3000


async def test_a_picture_that_takes_too_long_is_refused_and_its_process_is_ended() -> None:
    async with opened(seconds=0.3) as converter:
        converter._seconds = 60.0
        child = await stopped(converter)
        converter._seconds = 0.3
        with pytest.raises(Invalid, match=r"over 0\.3 seconds") as caught:
            await asyncio.wait_for(converter.convert(pictures.jpeg(), "image/jpeg"), 30)
        assert caught.value.field == "file"
        assert not child.is_running()
        converter._seconds = 60.0
        assert (await converter.convert(pictures.jpeg(), "image/jpeg")).width == 640


async def test_an_upload_is_told_that_its_picture_takes_too_long(tmp_path: Path) -> None:
    data = pictures.jpeg()
    async with local_flow(tmp_path, FilesSettings(picture_seconds=0.3, picture_processes=1)) as flow:
        converter = flow.files._intake._converter
        converter._seconds = 60.0
        await stopped(converter)
        converter._seconds = 0.3
        with pytest.raises(Invalid, match="seconds to convert"):
            await asyncio.wait_for(flow.upload(data, "image/jpeg"), 30)
        converter._seconds = 60.0
        assert (await flow.upload(data, "image/jpeg")).width == 640


@pytest.mark.parametrize("when", ["idle", "busy"])
async def test_a_process_that_dies_is_replaced(when: str) -> None:
    async with opened() as converter:
        child = await stopped(converter)
        converting: asyncio.Future[Picture] | None = None
        if when == "busy":  # as for want of memory
            converting = asyncio.ensure_future(converter.convert(pictures.jpeg(), "image/jpeg"))
            await until(lambda: not converter._idle)
        os.kill(child.pid, signal.SIGKILL)
        if converting is not None:
            with pytest.raises(Unavailable, match="Try again"):
                await converting
        else:
            await until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)
        assert (await converter.convert(pictures.jpeg(), "image/jpeg")).width == 640
        assert len(children(converter)) == 1


async def killed(converter: Converter, data: bytes, number: signal.Signals) -> None:
    """Convert it in a process that is killed meanwhile."""
    child = await stopped(converter)
    converting = asyncio.ensure_future(converter.convert(data, "image/jpeg"))
    await until(lambda: not converter._idle)
    os.kill(child.pid, number)
    os.kill(child.pid, signal.SIGCONT)
    await converting


async def test_a_picture_is_refused_when_its_process_is_killed_again_and_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    data, other = pictures.jpeg(320, 240), pictures.jpeg(240, 320)
    async with opened() as converter:
        for _ in range(2):
            with pytest.raises(Unavailable, match="Try again"):
                await killed(converter, data, signal.SIGKILL)
        assert "was ended by SIGKILL from outside, time 2 of 3" in caplog.text
        with pytest.raises(Unavailable):  # it has done nothing yet
            await killed(converter, other, signal.SIGTERM)
        with pytest.raises(Invalid, match="not a readable picture"):
            await killed(converter, data, signal.SIGKILL)
        assert {record.levelname for record in caplog.records} == {"WARNING"}
        assert (await converter.convert(data, "image/jpeg")).width == 320
        with pytest.raises(Unavailable):  # forgiven
            await killed(converter, data, signal.SIGKILL)


async def test_no_more_than_some_killed_pictures_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chat_oss.converter._REMEMBERED", 2)
    async with opened() as converter:
        for number in range(5):
            assert converter._killed(b"%d" % number, "image/jpeg", -signal.SIGKILL)
        assert len(converter._deaths) == 2


async def test_a_crash_of_the_decoder_is_the_fault_of_the_picture(caplog: pytest.LogCaptureFixture) -> None:
    async with opened() as converter:
        with pytest.raises(Invalid, match="not a readable picture"):
            await killed(converter, pictures.jpeg(), signal.SIGSEGV)
        assert "was ended by SIGSEGV over a picture" in caplog.text
        assert (await converter.convert(pictures.jpeg(), "image/jpeg")).width == 640


async def test_nothing_is_left_when_it_is_closed() -> None:
    async with opened() as converter:
        child = await stopped(converter)
        busy = asyncio.ensure_future(converter.convert(pictures.jpeg(), "image/jpeg"))
        waits = asyncio.ensure_future(converter.convert(pictures.jpeg(), "image/jpeg"))
        await until(lambda: not converter._idle)
    assert not child.is_running()
    with pytest.raises(Unavailable):
        await busy
    with pytest.raises((Unavailable, asyncio.CancelledError)):
        await waits


async def test_no_process_to_be_had_is_no_fault_of_the_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened() as converter:
        for program in ("/nowhere/python", "/bin/false"):
            monkeypatch.setattr("sys.executable", program)
            with pytest.raises(Unavailable):
                await converter.convert(pictures.jpeg(), "image/jpeg")
        monkeypatch.undo()
        assert (await converter.convert(pictures.jpeg(), "image/jpeg")).width == 640


CRASHING = """
import asyncio, os, signal
from chat_oss.converter import Converter
from chat_oss.picture_process import memory_limit
from chat_oss.picture_settings import PictureSettings
from tests.chat_oss import pictures

async def main():
    converter = Converter(PictureSettings(), processes=1, seconds=60)
    await converter.convert(pictures.jpeg(), "image/jpeg")
    [process] = converter._running
    print(process._child.pid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


async def test_the_processes_of_a_killed_server_end_by_themselves() -> None:
    server = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CRASHING, stdout=asyncio.subprocess.PIPE, cwd=Path(__file__).parents[2]
    )
    told, _ = await asyncio.wait_for(server.communicate(), 60)
    pid = int(told)
    await until(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)


@contextlib.contextmanager
def environment(name: str, value: str) -> Iterator[None]:
    os.environ[name] = value
    try:
        yield
    finally:
        del os.environ[name]


async def test_a_process_has_no_environment_few_files_and_goes_first_when_memory_is_short() -> None:
    with environment("CHAT__AUTH__SECRET", "a secret of the server"):
        async with opened(seconds=9.0) as converter:
            await converter.convert(pictures.jpeg(), "image/jpeg")
            [child] = children(converter)
            place = Path(f"/proc/{child.pid}")
            assert (place / "environ").read_bytes() == b""
            assert (place / "oom_score_adj").read_text().strip() == "1000"
            limits = {line[:26].strip(): line[26:].split()[:2] for line in (place / "limits").read_text().splitlines()}
            assert limits["Max address space"] == [str(memory_limit(SETTINGS))] * 2
            assert limits["Max file size"] == ["0", "0"]
            assert limits["Max core file size"] == ["0", "0"]
            assert limits["Max open files"] == ["32", "32"]
            # Counted from the picture's beginning, so that the next one has as much.
            assert 9 <= int(limits["Max cpu time"][0]) <= 9 + 2 + 1 + sum(child.cpu_times()[:2])


async def test_a_picture_for_which_there_is_no_memory_is_refused_and_the_next_one_is_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = pictures.encoded(Image.new("RGB", (9000, 5000)), "PNG")  # 135 MB, and as much again
    async with opened() as converter:
        assert (await converter.convert(data, "image/png")).width == 9000
    monkeypatch.setattr("chat_oss.picture_process._PIXEL_BYTES", 0)
    monkeypatch.setattr("chat_oss.picture_process._INTERPRETER_BYTES", 250 * MIB)
    async with opened() as converter:
        with pytest.raises(Invalid, match="not a readable picture"):
            await converter.convert(data, "image/png")
        assert (await converter.convert(pictures.jpeg(), "image/jpeg")).width == 640


@pytest.mark.parametrize("name", ["PNG", "WEBP"])
async def test_the_largest_picture_finds_room(name: str) -> None:
    """Turned, with transparency: nothing takes more. As many pixels as `PictureSettings` let in."""
    width, height = (8000, 6250) if name == "PNG" else (5000, 5000)
    data = pictures.encoded(Image.new("RGBA", (width, height), (9, 9, 9, 99)), name, exif=pictures.exif(6))
    async with opened(seconds=120) as converter:
        assert (await converter.convert(data, f"image/{name.lower()}")).width == height
