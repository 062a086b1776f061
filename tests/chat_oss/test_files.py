from __future__ import annotations

import asyncio
import contextlib
import hashlib
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from chat_common.clock import ManualClock
from chat_common.errors import (
    ChatError,
    Conflict,
    Invalid,
    NotAMember,
    NotFound,
    NotPermitted,
    RateLimited,
    Unavailable,
)
from chat_common.ports.files import AskLinks, CancelUpload, UploadParts, UploadRequest
from chat_oss import quota
from chat_oss.files import FilesSettings
from chat_oss.intake import _Reading
from chat_oss.local import LocalObjectStore
from chat_oss.policy import Policy
from msgspec import UNSET
from PIL import Image

from tests.chat_oss import pictures
from tests.chat_oss.application import open_application
from tests.chat_oss.flow import ROOM, Flow, local_flow
from tests.chat_oss.uploads_checks import CHECKS

MIB = 1024 * 1024
BYTES = "application/octet-stream"
PARTED = FilesSettings(parts_above=5 * MIB, part_bytes=5 * MIB)


def advance(flow: Flow, seconds: float) -> None:
    assert isinstance(flow.clock, ManualClock)
    flow.clock.advance(seconds)


@pytest.fixture
async def flow(tmp_path: Path) -> AsyncIterator[Flow]:
    async with local_flow(tmp_path, PARTED) as flow:
        yield flow


async def test_a_plain_file_from_begin_to_download(flow: Flow) -> None:
    data = b"%PDF-1.7" + secrets.token_bytes(100_000)
    facts = await flow.send(data, "application/pdf", name="报告.pdf")
    assert (facts.name, facts.type, facts.size) == ("报告.pdf", "application/pdf", len(data))
    urls = await flow.urls(facts.file)
    answer = await flow.web.get(urls["original"])
    assert answer.content == data
    assert "filename*=UTF-8''%E6%8A%A5%E5%91%8A.pdf" in answer.headers["content-disposition"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert await flow.keys() == [key for key in await flow.keys() if key.startswith("file/")]


async def test_a_picture_is_measured_stripped_and_has_thumbnails(flow: Flow) -> None:
    data = pictures.jpeg(2000, 1000)
    facts = await flow.send(data, "image/jpeg", name="a.jpg")
    assert (facts.width, facts.height) == (2000, 1000)
    urls = await flow.urls(facts.file)
    assert set(urls) == {"original", "small", "large"}
    for variant, url in urls.items():
        answer = await flow.web.get(url)
        assert answer.headers["content-type"] == "image/jpeg"
        assert answer.headers["content-disposition"].startswith("inline")
        assert pictures.SECRET not in answer.content, variant
    assert pictures.reopened((await flow.web.get(urls["small"])).content).size == (320, 160)
    assert facts.size == len((await flow.web.get(urls["original"])).content)


async def test_markup_is_saved_never_shown(flow: Flow) -> None:
    settings = FilesSettings(types=("text/*", "image/svg+xml"))
    flow.files._policy = type(flow.files._policy)(settings)
    for name, kind, data in (
        ("a.html", "text/html", b"<html><script>alert(1)</script>"),
        ("a.svg", "image/svg+xml", b"<svg xmlns='http://www.w3.org/2000/svg'><script/></svg>"),
    ):
        facts = await flow.send(data, kind, name=name)
        answer = await flow.web.get((await flow.urls(facts.file))["original"])
        assert answer.headers["content-disposition"].startswith("attachment")
        assert answer.headers["content-type"] == "application/octet-stream"
        assert "sandbox" in answer.headers["content-security-policy"]


async def refusal(doing: object) -> ChatError:
    with pytest.raises(ChatError) as caught:
        await doing  # type: ignore[misc]
    return caught.value


async def test_what_the_policy_forbids_is_refused_at_begin(flow: Flow) -> None:
    error = await refusal(flow.begin(b"x", "application/x-msdownload"))
    assert (error.code, error.field) == ("invalid", "type")
    error = await refusal(flow.begin(b"x", "not a type"))
    assert (error.code, error.field) == ("invalid", "type")
    error = await refusal(flow.begin(b"", "image/png", size=20 * MIB + 1))
    assert (error.code, error.field, error.limit) == ("invalid", "size", 20 * MIB)
    error = await refusal(flow.begin(b"", "video/mp4", size=1024 * MIB + 1))
    assert (error.code, error.field, error.limit) == ("invalid", "size", 1024 * MIB)
    error = await refusal(flow.begin(b"x", "image/png", user="eve"))
    assert error.code == "not_found"
    assert await flow.keys() == []


@pytest.mark.parametrize("settings", [FilesSettings(daily_files=2), FilesSettings(daily_bytes=250)])
async def test_a_quota_holds_for_a_day(settings: FilesSettings, tmp_path: Path) -> None:
    async with local_flow(tmp_path, settings) as flow:
        for _ in range(2):
            begun = await flow.begin(b"x" * 100, "text/plain")
            await flow.files.cancel("ada", CancelUpload(file=begun.file))  # gives nothing back
        error = await refusal(flow.begin(b"x" * 100, "text/plain"))
        assert isinstance(error, RateLimited)
        assert error.retry_after is not None
        await flow.begin(b"x" * 100, "text/plain", user="bob")
        advance(flow, error.retry_after)
        await flow.begin(b"x" * 100, "text/plain")


async def test_a_new_account_may_announce_less_for_a_day(tmp_path: Path) -> None:
    async with local_flow(tmp_path, FilesSettings(new_user_bytes=250)) as flow:
        advance(flow, 12 * 3600)  # its first 24 hours lie in two days
        flow.application.joined["ada"] = flow.clock.wall_ms()
        await flow.begin(b"x" * 100, "text/plain")
        advance(flow, 20 * 3600)
        await flow.files.sweep()
        await flow.begin(b"x" * 100, "text/plain")
        error = await refusal(flow.begin(b"x" * 100, "text/plain"))
        assert isinstance(error, RateLimited)
        assert (error.field, error.limit, error.retry_after) == ("size", 250, 4 * 3600)
        await flow.begin(b"x" * 1000, "text/plain", user="bob")
        advance(flow, 4 * 3600)
        await flow.begin(b"x" * 1000, "text/plain")


async def test_what_a_user_keeps_is_bounded_and_recalling_makes_room(tmp_path: Path) -> None:
    async with local_flow(tmp_path, FilesSettings(user_bytes=1000)) as flow:
        sent = await flow.send(b"x" * 600, "text/plain")
        begun = await flow.begin(b"x" * 300, "text/plain")
        error = await refusal(flow.begin(b"x" * 200, "text/plain"))
        assert isinstance(error, NotPermitted)
        assert (error.field, error.limit) == ("size", 1000)
        await flow.begin(b"x" * 200, "text/plain", user="bob")
        await flow.files.cancel("ada", CancelUpload(file=begun.file))
        await flow.begin(b"x" * 200, "text/plain")
        await flow.application.recall(sent.file)
        await refusal(flow.begin(b"x" * 700, "text/plain"))
        await flow.files.sweep()
        await flow.begin(b"x" * 700, "text/plain")


async def test_a_picture_counts_as_what_it_has_become(tmp_path: Path) -> None:
    async with local_flow(tmp_path) as flow:
        facts = await flow.upload(pictures.jpeg(), "image/jpeg")
        assert facts.size < len(pictures.jpeg())
        assert await flow.application.database.read(quota.used) == facts.size


async def test_what_all_keep_together_is_bounded(tmp_path: Path) -> None:
    async with local_flow(tmp_path, FilesSettings(total_bytes=1000)) as flow:
        await flow.begin(b"x" * 600, "text/plain")
        error = await refusal(flow.begin(b"x" * 500, "text/plain", user="bob"))
        assert isinstance(error, Unavailable)
        assert error.limit == 1000
        assert error.retry_after is not None
        await flow.begin(b"x" * 400, "text/plain", user="bob")


async def test_what_is_uploaded_must_be_what_was_announced(flow: Flow) -> None:
    begun = await flow.begin(b"12345", "text/plain")
    assert isinstance(await refusal(flow.finish(begun.file)), Conflict)  # nothing there yet
    assert isinstance(begun.put, UploadRequest)
    assert (await flow.put(begun.put, b"123456")).status_code == 403
    picture = await flow.begin(b"", "image/png", size=5)
    assert isinstance(picture.put, UploadRequest)
    await flow.put(picture.put, b"<html")
    error = await refusal(flow.finish(picture.file))
    assert (error.code, error.field) == ("invalid", "type")
    broken = await flow.begin(b"", "image/png", size=200)
    assert isinstance(broken.put, UploadRequest)
    await flow.put(broken.put, pictures.png()[:200])
    error = await refusal(flow.finish(broken.file))
    assert (error.code, error.field) == ("invalid", "file")
    assert [key for key in await flow.keys() if key.startswith("file/")] == []


async def test_a_wrong_checksum_is_refused_and_the_right_content_still_taken(flow: Flow) -> None:
    data = b"precious"
    begun = await flow.begin(data, "text/plain", sha256=hashlib.sha256(data).hexdigest())
    assert isinstance(begun.put, UploadRequest)
    await flow.put(begun.put, b"previous")
    error = await refusal(flow.finish(begun.file))
    assert (error.code, error.field) == ("invalid", "sha256")
    await flow.put(begun.put, data)
    assert (await flow.finish(begun.file)).size == 8


async def test_finishing_twice(flow: Flow) -> None:
    begun = await flow.begin(b"once", "text/plain")
    assert isinstance(begun.put, UploadRequest)
    await flow.put(begun.put, b"once")
    first = await flow.finish(begun.file, ref="r1")
    assert await flow.finish(begun.file, ref="r1") == first  # a lost reply
    assert isinstance(await refusal(flow.finish(begun.file, ref="r2")), Conflict)
    # Writing to the old link does not change the file.
    await flow.put(begun.put, b"evil")
    await flow.application.send("ada", begun.file)
    assert (await flow.web.get((await flow.urls(begun.file))["original"])).content == b"once"


async def test_others_uploads_are_as_if_they_were_not_there(flow: Flow) -> None:
    begun = await flow.begin(b"mine", "text/plain")
    texts = set()
    for file in (begun.file, "never-was"):
        for doing in (
            flow.finish(file, user="bob"),
            flow.files.cancel("bob", CancelUpload(file=file)),
            flow.files.parts("bob", UploadParts(file=file)),
        ):
            error = await refusal(doing)
            assert isinstance(error, NotFound)
            texts.add(error.message)
    assert len(texts) == 1


async def test_only_files_in_messages_are_read_and_only_by_who_may(flow: Flow) -> None:
    facts = await flow.upload(b"draft", "text/plain")
    assert await flow.urls(facts.file, "bob") == {}
    assert await flow.urls(facts.file, "ada") == {}
    await flow.application.send("ada", facts.file)
    assert await flow.urls(facts.file, "bob")
    assert await flow.urls(facts.file, "eve") == {}
    asked = AskLinks(files=["guess", facts.file, facts.file])
    assert [one.file for one in (await flow.files.links("bob", asked)).files] == [facts.file]


async def test_links_end_and_a_recalled_file_is_gone(flow: Flow) -> None:
    facts = await flow.send(b"secret", "text/plain")
    url = (await flow.urls(facts.file))["original"]
    advance(flow, 299)
    assert (await flow.web.get(url)).status_code == 200
    advance(flow, 1)
    assert (await flow.web.get(url)).status_code == 403
    url = (await flow.urls(facts.file))["original"]
    await flow.application.recall(facts.file)
    assert await flow.urls(facts.file) == {}
    advance(flow, 3700)
    await flow.files.sweep()
    assert await flow.keys() == []
    assert (await flow.web.get(url)).status_code == 403


async def test_the_same_content_is_stored_once_and_kept_while_one_file_needs_it(flow: Flow) -> None:
    data = secrets.token_bytes(1000)
    first = await flow.send(data, "application/octet-stream")
    keys = await flow.keys()
    second = await flow.send(data, "application/octet-stream", name="b.bin")
    assert await flow.keys() == keys
    assert first.file != second.file
    await flow.application.recall(first.file)
    advance(flow, 90_000)
    await flow.files.sweep()
    answer = await flow.web.get((await flow.urls(second.file))["original"])
    assert answer.content == data
    await flow.application.recall(second.file)
    await flow.files.sweep()
    assert await flow.keys() == []


async def test_a_picture_sent_again_is_stored_once_with_its_thumbnails(flow: Flow) -> None:
    await flow.send(pictures.jpeg(2000, 1000), "image/jpeg")
    keys = await flow.keys()
    assert len(keys) == 3
    again = await flow.send(pictures.jpeg(2000, 1000), "image/jpeg")
    assert await flow.keys() == keys
    for url in (await flow.urls(again.file)).values():
        assert (await flow.web.get(url)).status_code == 200


async def test_nothing_tells_that_somebody_else_has_sent_the_same(flow: Flow) -> None:
    """The probes of one who guesses a content: the key and date of his link, and whether a recall ends it."""
    data = secrets.token_bytes(6 * MIB)
    for size in (1000, len(data)):
        content = data[:size]
        others = (
            await flow.upload_parts(content, BYTES, user="bob")
            if size > 5 * MIB
            else await flow.upload(content, BYTES, user="bob")
        )
        await flow.application.send("bob", others.file)
        theirs = (await flow.urls(others.file))["original"]
        before = await flow.keys()
        mine = await flow.upload_parts(content, BYTES) if size > 5 * MIB else await flow.upload(content, BYTES)
        await flow.application.send("ada", mine.file)
        link = (await flow.urls(mine.file))["original"]
        [key] = set(await flow.keys()) - set(before)
        assert key in link, "written for me alone, at my time"
        await flow.application.recall(mine.file)
        await flow.files.sweep()
        assert (await flow.web.get(link)).status_code == 404
        assert (await flow.web.get(theirs)).content == content


@pytest.mark.parametrize("kind", ["image/jpeg", BYTES])
async def test_who_sees_the_second_of_two_is_not_told_when_the_first_was_sent(flow: Flow, kind: str) -> None:
    data = pictures.jpeg(2000, 1000)

    async def told() -> list[dict[str, str]]:
        """All that the links of a file say, but for the names of things and the time that is now."""
        facts = await flow.send(data, kind)
        urls = await flow.urls(facts.file)
        answers = [await flow.web.get(urls[variant]) for variant in sorted(urls)]
        return [dict(answer.headers) for answer in answers]

    first = await told()
    keys = await flow.keys()
    advance(flow, 100_000)
    assert await told() == first
    assert await flow.keys() == keys  # though it is the same object
    assert not any({"last-modified", "date", "age"} & set(headers) for headers in first)


async def test_the_same_in_another_conversation_is_another_content(flow: Flow) -> None:
    """Else one of its members could tell by its date or its link that it was sent in the first."""
    flow.application.check_send = lambda user, conversation: None
    for conversation in ("one", "two"):
        begun = await flow.begin(b"same", "text/plain", conversation=conversation)
        assert isinstance(begun.put, UploadRequest)
        await flow.put(begun.put, b"same")
        await flow.finish(begun.file)
    assert len({upload.content for upload in await flow.application.rows()}) == 2


class Meddling(LocalObjectStore):
    """Whenever it is read or copied, somebody writes other bytes under an old link, before and after."""

    meddle: Callable[[], Awaitable[None]] | None = None

    @contextlib.asynccontextmanager
    async def get(self, key: str, *, start: int = 0, length: int | None = None) -> AsyncIterator[AsyncIterator[bytes]]:
        async with super().get(key, start=start, length=length) as chunks:
            yield chunks
        await self._meddle()

    async def copy(self, source: str, target: str, *, type: str | None = None, size: int | None = None) -> None:
        await super().copy(source, target, type=type, size=size)
        await self._meddle()

    async def _meddle(self) -> None:
        if self.meddle is not None:
            await self.meddle()


@pytest.mark.parametrize(("type", "good"), [("text/plain", b"good"), ("image/png", pictures.png(30, 30))])
async def test_what_is_written_to_the_link_after_the_look_is_never_the_file(
    type: str, good: bytes, tmp_path: Path
) -> None:
    async with local_flow(tmp_path, PARTED, Meddling) as flow:
        store = flow.store
        assert isinstance(store, Meddling)
        clean = await flow.send(good, type)
        expected = (await flow.web.get((await flow.urls(clean.file))["original"])).content
        begun = await flow.begin(good, type)
        request = begun.put
        assert isinstance(request, UploadRequest)
        await flow.put(request, good)
        evil = bytes(len(good))

        async def meddle() -> None:
            assert (await flow.put(request, evil)).status_code == 200

        store.meddle = meddle
        facts = await flow.finish(begun.file, sha256=hashlib.sha256(good).hexdigest())
        store.meddle = None
        await flow.application.send("ada", facts.file)
        for file in (clean.file, facts.file):
            assert (await flow.web.get((await flow.urls(file))["original"])).content == expected


async def test_an_upload_found_wrong_three_times_is_forgotten(flow: Flow) -> None:
    begun = await flow.begin(b"text", "text/plain", sha256=hashlib.sha256(b"else").hexdigest())
    assert isinstance(begun.put, UploadRequest)
    await flow.put(begun.put, b"text")
    messages = []
    for _ in range(3):
        error = await refusal(flow.finish(begun.file))
        assert (error.code, error.field) == ("invalid", "sha256")
        messages.append(error.message)
    assert messages == [messages[0], messages[0], f"{messages[0]} Begin a new upload."]
    assert isinstance(await refusal(flow.finish(begun.file)), NotFound)
    assert await flow.keys() == []


async def test_parts_that_make_something_wrong_are_forgotten_at_once(flow: Flow) -> None:
    data = bytes(6 * MIB)
    error = await refusal(flow.upload_parts(data, BYTES, sha256="0" * 64))
    assert (error.code, error.field) == ("invalid", "sha256")
    assert await flow.keys() == []
    assert await flow.application.rows() == []


async def test_finishes_of_one_user_are_done_one_after_the_other(flow: Flow, monkeypatch: pytest.MonkeyPatch) -> None:
    running = most = 0
    inspect = flow.files._intake.inspect

    async def watched(*arguments: Any, **named: Any) -> Any:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        try:
            return await inspect(*arguments, **named)
        finally:
            running -= 1

    monkeypatch.setattr(flow.files._intake, "inspect", watched)
    begun = [await flow.begin(b"text", "text/plain") for _ in range(4)]
    for one in begun:
        assert isinstance(one.put, UploadRequest)
        await flow.put(one.put, b"text")
    await asyncio.gather(*(flow.finish(one.file) for one in begun))
    assert most == 1
    # A call repeated while the first is under way has its answer, another one is told that it came too late.
    last = await flow.begin(b"text", "text/plain")
    assert isinstance(last.put, UploadRequest)
    await flow.put(last.put, b"text")
    asked = [flow.finish(last.file, ref=ref) for ref in ("r", "r", "other")]
    first, same, late = await asyncio.gather(*asked, return_exceptions=True)
    assert first == same
    assert isinstance(late, Conflict)


async def test_finish_looks_at_the_size_itself(tmp_path: Path) -> None:
    """A store that takes another size than its link says is not believed, whether the content is read or not."""
    for settings in (FilesSettings(), FilesSettings(hash_up_to=0)):
        async with local_flow(tmp_path / str(settings.hash_up_to), settings) as flow:
            for stored in (b"longer than announced", b"shor"):
                begun = await flow.begin(b"", "text/plain", size=5)
                await flow.store.put(f"upload/{begun.file}", stored, type="text/plain")
                error = await refusal(flow.finish(begun.file))
                assert (error.code, error.field, error.limit) == ("invalid", "size", 5)


async def test_an_upload_past_its_time_is_over_even_before_the_sweep(flow: Flow) -> None:
    small = await flow.begin(b"12345", "text/plain")
    large = await flow.begin(b"", "video/mp4", size=6 * MIB)
    assert isinstance(small.put, UploadRequest)
    await flow.put(small.put, b"12345")
    advance(flow, 3600)
    assert isinstance(await refusal(flow.finish(small.file)), NotFound)
    assert (await flow.files.parts("ada", UploadParts(file=large.file, numbers=[1]))).expires_at == large.expires_at
    advance(flow, 86_400 - 3600)
    assert isinstance(await refusal(flow.files.parts("ada", UploadParts(file=large.file, numbers=[1]))), NotFound)
    assert isinstance(await refusal(flow.finish(large.file)), NotFound)


async def test_the_same_bytes_under_another_type_are_another_content(flow: Flow) -> None:
    for kind in ("text/plain", BYTES):
        facts = await flow.send(b"the same", kind)
        assert facts.type == kind
    assert len(await flow.keys()) == 2


@pytest.mark.parametrize("announced", [BYTES, "image/png", "image/webp"])
async def test_a_picture_is_one_by_its_content(announced: str, flow: Flow) -> None:
    """A photo called a.png, or sent as bytes, names its place and camera no more than any other."""
    facts = await flow.send(pictures.jpeg(2000, 1000), announced, name="a.png")
    assert (facts.type, facts.width, facts.height, facts.unstripped) == ("image/jpeg", 2000, 1000, UNSET)
    urls = await flow.urls(facts.file)
    assert set(urls) == {"original", "small", "large"}
    for url in urls.values():
        answer = await flow.web.get(url)
        assert answer.headers["content-type"] == "image/jpeg"
        assert pictures.SECRET not in answer.content
    keys = await flow.keys()
    await flow.send(pictures.jpeg(2000, 1000), "image/jpeg")
    assert await flow.keys() == keys


async def test_a_picture_in_parts_is_one_too(tmp_path: Path) -> None:
    noise = Image.effect_noise((3000, 3000), 200).convert("RGB")
    data = pictures.encoded(noise, "JPEG", quality=95, exif=pictures.exif())
    assert 5 * MIB < len(data) < 20 * MIB
    async with local_flow(tmp_path, PARTED) as flow:
        facts = await flow.upload_parts(data, BYTES)
        assert (facts.type, facts.width) == ("image/jpeg", 3000)
        await flow.application.send("ada", facts.file)
        assert pictures.SECRET not in (await flow.web.get((await flow.urls(facts.file))["original"])).content


@pytest.mark.parametrize("what", ["broken", "large"])
async def test_who_sends_a_picture_as_bytes_is_told_how_it_can_stay_as_it_is(what: str, tmp_path: Path) -> None:
    async with local_flow(tmp_path, FilesSettings(max_picture_bytes=2000)) as flow:
        data = pictures.jpeg() if what == "large" else pictures.jpeg()[:1000]
        error = await refusal(flow.upload(data, BYTES))
        assert error.code == "invalid"
        assert error.field == ("size" if what == "large" else "file")
        assert "Put it into an archive to send it as it is." in error.message
        assert [key for key in await flow.keys() if key.startswith("file/")] == []


async def test_a_kind_of_picture_that_the_policy_forbids_does_not_come_in_as_bytes(tmp_path: Path) -> None:
    async with local_flow(tmp_path, FilesSettings(types=("image/png", BYTES))) as flow:
        error = await refusal(flow.upload(pictures.jpeg(), BYTES))
        assert (error.code, error.field) == ("invalid", "type")


async def test_a_picture_over_the_limit_is_not_held_in_memory(tmp_path: Path) -> None:
    for collect in (True, False):
        reading = _Reading(BYTES, collect=collect)

        async def chunks() -> AsyncIterator[bytes]:
            yield pictures.jpeg()[:100]
            yield bytes(10_000)

        await reading.take(chunks())
        assert (reading.size, len(reading.data)) == (10_100, 10_100 if collect else 0)


HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(3000)
MOVIE = b"\0\0\0\x20ftypisom\0\0\x02\0isomiso2avc1mp41" + bytes(3000)


@pytest.mark.parametrize(
    ("data", "announced", "told"),
    [(HEIC, BYTES, True), (MOVIE, "video/mp4", True), (MOVIE, BYTES, True), (b"BMI is a number", "text/plain", UNSET)],
)
async def test_a_sender_is_told_what_stays_in_a_file(data: bytes, announced: str, told: Any, flow: Flow) -> None:
    begun = await flow.begin(data, announced)
    assert isinstance(begun.put, UploadRequest)
    await flow.put(begun.put, data)
    for _ in range(2):  # also who asks again
        facts = await flow.finish(begun.file, ref="r")
        assert (facts.type, facts.unstripped) == (announced, told)
    await flow.application.send("ada", facts.file)
    assert (await flow.web.get((await flow.urls(facts.file))["original"])).content == data


@pytest.mark.parametrize(
    ("data", "utf8"),
    [
        ("明天见\n".encode() * 300_000, True),  # over several chunks, cut within characters
        (b"plain", True),
        ("明天见".encode("gbk"), False),
        ("明天見".encode("big5"), False),
        ("明日ね".encode("shift_jis"), False),
        ("äöü".encode("latin-1"), False),
        ("明天见".encode()[:-1], False),
    ],
    ids=["utf-8", "ascii", "gbk", "big5", "shift-jis", "latin-1", "cut"],
)
async def test_a_text_is_called_utf_8_where_all_of_it_is(data: bytes, utf8: bool, flow: Flow) -> None:
    facts = await flow.send(data, "text/plain", name="a.txt")
    answer = await flow.web.get((await flow.urls(facts.file))["original"])
    assert answer.content == data
    assert answer.headers["content-type"] == ("text/plain; charset=utf-8" if utf8 else "text/plain")


async def test_a_large_file_goes_in_parts_and_is_resumed(flow: Flow) -> None:
    data = secrets.token_bytes(12 * MIB)
    begun = await flow.begin(data, "application/octet-stream")
    assert (begun.part_size, begun.parts) == (5 * MIB, 3)
    asked = await flow.files.parts("ada", UploadParts(file=begun.file, numbers=[1, 3]))
    assert [(link.number, link.size) for link in asked.links] == [(1, 5 * MIB), (3, 2 * MIB)]
    for link in asked.links:
        start = (link.number - 1) * 5 * MIB
        assert (await flow.put(link.put, data[start : start + link.size])).status_code == 200
    error = await refusal(flow.finish(begun.file))
    assert (error.code, error.limit) == ("conflict", len(data))
    # Another day's client asks what is there and goes on.
    left = await flow.files.parts("ada", UploadParts(file=begun.file))
    assert left.have == [1, 3]
    [link] = (await flow.files.parts("ada", UploadParts(file=begun.file, numbers=[2]))).links
    await flow.put(link.put, data[5 * MIB : 10 * MIB])
    facts = await flow.finish(begun.file)
    assert facts.size == len(data)
    await flow.application.send("ada", facts.file)
    assert (await flow.web.get((await flow.urls(facts.file))["original"])).content == data
    assert (await flow.put(link.put, data[5 * MIB : 10 * MIB])).status_code == 404  # the parts are over
    error = await refusal(flow.files.parts("ada", UploadParts(file=begun.file, numbers=[2])))
    assert isinstance(error, Conflict)


async def test_the_same_large_content_ends_as_one(flow: Flow) -> None:
    data = secrets.token_bytes(6 * MIB)
    for _ in range(2):
        begun = await flow.begin(data, "application/octet-stream")
        asked = await flow.files.parts("ada", UploadParts(file=begun.file, numbers=[1, 2]))
        for link in asked.links:
            start = (link.number - 1) * 5 * MIB
            await flow.put(link.put, data[start : start + link.size])
        await flow.finish(begun.file)
        await flow.application.send("ada", begun.file)
    assert len({upload.content for upload in await flow.application.rows()}) == 1
    advance(flow, 200_000)
    await flow.files.sweep()
    assert len(await flow.keys()) == 1


async def test_what_was_begun_and_never_finished_is_swept(flow: Flow) -> None:
    small = await flow.begin(b"12345", "text/plain")
    large = await flow.begin(b"", "video/mp4", size=6 * MIB)
    assert isinstance(small.put, UploadRequest)
    await flow.put(small.put, b"12345")
    [link] = (await flow.files.parts("ada", UploadParts(file=large.file, numbers=[1]))).links
    await flow.put(link.put, bytes(5 * MIB))
    finished = await flow.upload(b"never sent", "text/plain")
    advance(flow, 3600)
    await flow.files.sweep()
    assert isinstance(await refusal(flow.finish(small.file)), NotFound)
    advance(flow, 86_400 + 3600)
    await flow.files.sweep()
    advance(flow, 3600)
    await flow.files.sweep()
    assert await flow.keys() == []
    assert await flow.application.rows() == []
    assert await flow.application.contents() == []
    assert isinstance(await refusal(flow.finish(finished.file)), NotFound)
    assert (await flow.put(link.put, bytes(5 * MIB))).status_code in (403, 404)


@pytest.mark.parametrize("when", ["before", "meanwhile"])
async def test_who_may_not_send_any_more_cannot_finish(flow: Flow, when: str) -> None:
    begun = await flow.begin(b"12345", "text/plain")
    assert isinstance(begun.put, UploadRequest)
    await flow.put(begun.put, b"12345")
    asked: list[str] = []

    def check_send(user: str, conversation: str) -> None:
        asked.append(user)
        if len(asked) == (1 if when == "before" else 2):
            raise NotAMember("you have left")

    flow.application.check_send = check_send
    assert isinstance(await refusal(flow.finish(begun.file)), NotAMember)
    advance(flow, 10_000)
    await flow.files.sweep()
    assert await flow.keys() == []
    assert await flow.application.contents() == []


async def test_cancel_forgets_at_once(flow: Flow) -> None:
    begun = await flow.begin(b"12345", "text/plain")
    assert isinstance(begun.put, UploadRequest)
    await flow.put(begun.put, b"12345")
    await flow.files.cancel("ada", CancelUpload(file=begun.file))
    assert await flow.keys() == []
    assert isinstance(await refusal(flow.finish(begun.file)), NotFound)
    sent = await flow.send(b"sent", "text/plain")
    assert isinstance(await refusal(flow.files.cancel("ada", CancelUpload(file=sent.file))), Conflict)


async def test_types_of_requests_are_checked_by_the_codec() -> None:
    from chat_common.ports.files import BeginUpload
    from chat_common.validation import convert

    good = {"conversation": "c", "name": "a", "type": "text/plain", "size": 1}
    assert convert(good, BeginUpload).size == 1
    for name in ("报告 (1).pdf", "عقد.pdf", "👩‍👩‍👧.png", " a"):
        assert convert({**good, "name": name}, BeginUpload).name == name
    for name in ("a\r\nb", "a\0", "\u202egnp.exe", "a\u2066b", "a\x85", "\n", "a\n"):
        with pytest.raises(Invalid) as caught:
            convert({**good, "name": name}, BeginUpload)
        assert caught.value.field == "name"
    # Nothing else in it, or among others.
    unseen = ("\u200d", "\u200c\ufe0f", "\u3164", "\u2800 ", "\u00a0\u3000", "\U000e0061\U000e007f")
    inside = "\u200b\u200e\u200f\u061c\u2060\ufeff\u00ad\u206a\u2028\ud800\ufffa"
    for name in (*unseen, *(f"a{one}b.pdf" for one in inside)):
        with pytest.raises(Invalid, match="characters that may not stand here") as caught:
            convert({**good, "name": name}, BeginUpload)
        assert caught.value.field == "name", ascii(name)
    for name in ("می\u200cخواهم.pdf", "क\u094d\u200dष.txt", "❤\ufe0f.png", "\U0001f3f4\U000e0067\U000e007f.png", ".x"):
        assert convert({**good, "name": name}, BeginUpload).name == name
    for dots in (".", ".."):
        with pytest.raises(Invalid):
            convert({**good, "name": dots}, BeginUpload)
    for bad in (
        {"size": 0},
        {"size": 5 * 1024**3 + 1},
        {"name": " "},
        {"name": "x" * 256},
        {"sha256": "ABC"},
    ):
        with pytest.raises(Invalid) as caught:
            convert({**good, **bad}, BeginUpload)
        assert caught.value.field == next(iter(bad))


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_the_table_keeps_its_promises(check: Any, tmp_path: Path) -> None:
    async with open_application(tmp_path) as application:
        await check(application.uploads, application.leftovers, "ada", ROOM, ManualClock().wall_ms())


async def test_a_store_that_is_away_costs_nobody_the_days_quota(flow: Flow, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(key: str, *, type: str) -> str:
        raise Unavailable("the object store does not answer")

    large = bytes(6 * MIB)
    flow.files._policy = Policy(evolve(PARTED, daily_files=2))
    with monkeypatch.context() as patched:
        patched.setattr(flow.store, "begin_parts", away)
        for _ in range(5):
            assert isinstance(await refusal(flow.begin(large, BYTES)), Unavailable)
    await flow.upload_parts(large, BYTES)
    await flow.upload_parts(large, BYTES)
    assert isinstance(await refusal(flow.begin(large, BYTES)), RateLimited)


async def test_what_is_no_picture_does_not_wait_for_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with local_flow(tmp_path, FilesSettings(finish_at_once=1)) as flow:
        inspect, seen, go_on = flow.files._intake.inspect, asyncio.Event(), asyncio.Event()

        async def slowly(store: Any, key: str, *, type: str, **more: Any) -> Any:
            if type == "image/png":
                seen.set()
                await go_on.wait()
            return await inspect(store, key, type=type, **more)

        monkeypatch.setattr(flow.files._intake, "inspect", slowly)
        picture = asyncio.create_task(flow.upload(pictures.png(), "image/png"))
        await seen.wait()
        async with asyncio.timeout(20):
            await flow.upload(b"%PDF-1.7", "application/pdf", user="bob")
        assert not picture.done()
        go_on.set()
        await picture
