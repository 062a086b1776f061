"""Files of words: read at start, and again when one has changed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from chat_common.settings import SetupError
from chat_server.moderation.folding import fold
from chat_server.moderation.lists import Lists
from chat_server.moderation.settings import WordSettings


def written(path: Path, text: str) -> str:
    path.write_text(text, "utf-8")
    return str(path)


def replace_in_place(path: Path, text: str) -> None:
    """Another file of the same size and time, as some editors leave it."""
    times = path.stat().st_atime_ns, path.stat().st_mtime_ns
    new = path.with_suffix(".new")
    new.write_text(text, "utf-8")
    os.utime(new, ns=times)
    new.replace(path)


def damage(path: Path, content: bytes | None) -> None:
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)


async def test_a_changed_file_is_read_again_and_only_that(tmp_path: Path) -> None:
    one, two = written(tmp_path / "one.txt", "# remark\n\nbad\n"), written(tmp_path / "two.txt", "\ufeffworse\n")
    lists = Lists(WordSettings(refuse=[one], mask=[two]))
    assert [each.name for each in lists.of("refuse")] == ["one"]
    assert lists.of("mask")[0].matcher.finds(fold("WORSE"))
    assert await lists.refresh() == []
    written(Path(one), "other\n")
    assert await lists.refresh() == [one]
    assert not lists.of("refuse")[0].matcher.finds(fold("bad"))
    assert lists.of("refuse")[0].matcher.finds(fold("other"))
    assert await lists.refresh() == []


async def test_a_file_of_the_same_size_and_time_is_known_by_its_place(tmp_path: Path) -> None:
    path = Path(written(tmp_path / "one.txt", "aaa\n"))
    lists = Lists(WordSettings(report=[str(path)]))
    replace_in_place(path, "bbb\n")
    assert await lists.refresh() == [str(path)]
    assert lists.of("report")[0].matcher.finds(fold("bbb"))


@pytest.mark.parametrize("broken", [b"\xff\xfe", b"fine\n*\n", b"x" * 70, None])
async def test_what_is_broken_later_leaves_the_former_list_in_force(tmp_path: Path, broken: bytes | None) -> None:
    path = Path(written(tmp_path / "one.txt", "bad\n"))
    lists = Lists(WordSettings(refuse=[str(path)]))
    damage(path, broken)
    assert await lists.refresh() == []
    assert await lists.refresh() == []
    assert lists.of("refuse")[0].matcher.finds(fold("bad"))
    written(path, "mended\n")
    assert await lists.refresh() == [str(path)]


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"\xff", "is not UTF-8: byte 0"), (b"fine\n\n*\n", "line 3: nothing is left"), (None, "cannot be read")],
)
def test_what_is_broken_at_start_is_one_sentence(tmp_path: Path, content: bytes | None, said: str) -> None:
    path = tmp_path / "one.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SetupError, match=said) as refused:
        Lists(WordSettings(mask=[str(path)]))
    assert str(refused.value).startswith("[words] mask: ")
    assert str(path) in str(refused.value)


@pytest.mark.parametrize("sign", ["", "ab", "*", "\n", " ", "\u200b"])
def test_a_mask_is_one_character_that_is_seen_and_no_mark(sign: str) -> None:
    with pytest.raises(ValueError, match="mask_with"):
        WordSettings(mask_with=sign)
