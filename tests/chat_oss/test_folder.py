from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from chat_common.errors import Invalid, NotFound
from chat_oss.folder import Folder


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    place = Folder(tmp_path / "store")
    place.prepare(stale_before=0)
    return place


def put(folder: Folder, key: str, data: bytes) -> None:
    draft = folder.draft()
    draft.write(data)
    folder.commit(draft, key, "text/plain")


def read(folder: Folder, key: str) -> bytes:
    _, file = folder.open(key)
    with file:
        return file.read()


def test_keys_that_look_like_folders_of_each_other_do_not_clash(folder: Folder) -> None:
    for key in ("a", "a/b", "a/b/c", "a.b", "a-b/c"):
        put(folder, key, key.encode())
    assert [info.key for info in folder.list("")] == sorted(["a", "a/b", "a/b/c", "a.b", "a-b/c"])
    folder.delete("a")
    assert read(folder, "a/b/c") == b"a/b/c"


def test_empty_folders_go_with_their_last_object(folder: Folder) -> None:
    put(folder, "a/b/c", b"x")
    folder.delete("a/b/c")
    assert list((folder.root / "objects").iterdir()) == []


def test_what_is_open_stays_readable_when_it_is_replaced_or_deleted(folder: Folder) -> None:
    put(folder, "a", b"first")
    _, file = folder.open("a")
    put(folder, "a", b"second")
    folder.delete("a")
    with file:
        assert file.read() == b"first"


def test_a_draft_is_invisible_until_it_is_kept_and_gone_when_dropped(folder: Folder) -> None:
    draft = folder.draft()
    draft.write(b"half")
    assert list(folder.list("")) == []
    draft.drop()
    assert list((folder.root / "tmp").iterdir()) == []


def test_stale_drafts_of_a_crash_are_removed_fresh_ones_stay(folder: Folder) -> None:
    stale, fresh = folder.draft(), folder.draft()
    os.utime(stale.path, (1_000, 1_000))
    folder.prepare(stale_before=2_000)
    assert [path.name for path in (folder.root / "tmp").iterdir()] == [fresh.path.name]
    stale.drop()
    fresh.drop()


def test_the_secret_is_made_once_even_by_many_at_once(folder: Folder) -> None:
    found: list[bytes] = []
    threads = [threading.Thread(target=lambda: found.append(folder.secret())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 1
    assert len(found[0]) == 32
    assert (folder.root / "secret").stat().st_mode & 0o077 == 0


def test_foreign_files_are_not_objects(folder: Folder) -> None:
    (folder.root / "objects" / "=foreign").write_text("no header")
    assert list(folder.list("")) == []
    with pytest.raises(NotFound):
        folder.stat("foreign")


@pytest.mark.parametrize("upload", ["../x", "", ".", "a/b"])
def test_an_upload_id_leads_nowhere_else(folder: Folder, upload: str) -> None:
    with pytest.raises(NotFound):
        folder.parts("a", upload)


@pytest.mark.parametrize("key", ["../a", "a/../../b", "/a", "", "a//b"])
def test_a_key_leads_nowhere_else(folder: Folder, key: str) -> None:
    for work in (folder.stat, folder.delete, folder.abort_parts):
        with pytest.raises(Invalid):
            work(key)


def test_writers_and_deleters_of_one_folder_do_not_disturb_each_other(folder: Folder) -> None:
    """A delete removes the folder that it empties, just when another object is put there."""
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for _ in range(50):
                put(folder, f"shared/{number}", b"x")
                folder.delete(f"shared/{number}")
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
