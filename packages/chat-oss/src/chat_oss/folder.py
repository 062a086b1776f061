"""Objects in a folder: synchronous, for threads. One object is one file: a header of 512 bytes, then its content.

Header and content come into being by one rename, so nobody ever sees half of either. Layout::

    objects/<segment>/…/=<last segment>      "=" is no character of a key: a key and a folder never clash
    parts/<hash of key>/<upload>/<number>    and the type of the content to be, in `type`
    tmp/<random>                             being written; what a crash leaves is removed at the next start

Nobody else on the machine may read any of it: folders are 0700, files 0600.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import secrets
import shutil
import stat
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import msgspec
from attrs import define, field, frozen
from chat_common.decoding import prepare
from chat_common.errors import Invalid, NotFound
from chat_common.ports.objects import PART_MIN, ObjectInfo, Part, check_key, check_prefix

HEADER = 512
MAGIC = b"chatobj1"
FOLDER_MODE, FILE_MODE, OTHERS = 0o700, 0o600, 0o077
COPY_CHUNK = 1024 * 1024

log = logging.getLogger(__name__)


@frozen
class _Header:
    type: str
    etag: str


prepare(_Header)


@define
class Draft:
    """A content being written, visible to nobody. Ends by `Folder.commit`, `Folder.commit_part` or `drop`."""

    path: Path
    file: BinaryIO
    digest: hashlib._Hash = field(factory=hashlib.sha256)
    size: int = 0

    def write(self, data: bytes) -> None:
        self.file.write(data)
        self.digest.update(data)
        self.size += len(data)

    def drop(self) -> None:
        self.file.close()
        self.path.unlink(missing_ok=True)

    def seal(self, type: str, etag: str | None = None) -> str:
        """Write the header and bring all of it to disk; returns the etag."""
        etag = etag or self.digest.hexdigest()[:32]
        head = msgspec.json.encode(_Header(type, etag))
        self.file.seek(0)
        self.file.write(MAGIC + len(head).to_bytes(4, "big") + head)
        self.file.flush()
        os.fsync(self.file.fileno())
        self.file.close()
        return etag


class Folder:
    """The objects below one folder of this machine. Safe for many threads and processes at once."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._objects = root / "objects"
        self._parts = root / "parts"
        self._tmp = root / "tmp"

    def prepare(self, *, stale_before: float) -> None:
        """Make the folders; remove drafts not written to since ``stale_before`` (s since 1970)."""
        for path in (self.root, self._objects, self._parts, self._tmp):
            _make_folder(path)
        self._close_to_others()
        for path in self._tmp.iterdir():
            with contextlib.suppress(FileNotFoundError):
                if path.stat().st_mtime < stale_before:
                    path.unlink()

    def _close_to_others(self) -> None:
        """Mend what an older version, or a copy, has left readable. The mark says that it was done: all is made private
        since, and a store of millions need not be walked at every start."""
        mark = self.root / "private"
        if mark.exists() and not self.root.stat().st_mode & OTHERS:
            return
        mended = foreign = 0
        for path in (self.root, *self.root.rglob("*")):
            try:
                mode = path.lstat().st_mode
                if mode & OTHERS and not stat.S_ISLNK(mode):
                    path.chmod(stat.S_IMODE(mode) & ~OTHERS)
                    mended += 1
            except FileNotFoundError:
                continue
            except PermissionError:
                foreign += 1
        if foreign:
            log.warning(
                "%d objects and folders in %s belong to another user: see who may read them", foreign, self.root
            )
        else:
            mark.touch(FILE_MODE)
        if mended:
            log.warning(
                "%d objects and folders in %s were open to others of this machine: now closed", mended, self.root
            )

    def secret(self) -> bytes:
        """The key that signs links: 32 random bytes, made once, readable by this user alone."""
        path = self.root / "secret"
        if not path.exists():
            fresh = self._tmp / secrets.token_hex(16)
            descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(secrets.token_bytes(32))
                file.flush()
                os.fsync(file.fileno())
            with contextlib.suppress(FileExistsError):
                os.link(fresh, path)  # the first of all that race
            fresh.unlink()
        return path.read_bytes()

    def free(self) -> int:
        """Bytes of its disk that this user may still take."""
        found = os.statvfs(self.root)
        return found.f_bavail * found.f_frsize

    def draft(self) -> Draft:
        path = self._tmp / secrets.token_hex(16)
        file = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE), "wb")
        file.write(bytes(HEADER))
        return Draft(path, file)

    def commit(self, draft: Draft, key: str, type: str, etag: str | None = None) -> ObjectInfo:
        """Make the draft the content of ``key``."""
        target = self._path(key)
        etag = draft.seal(type, etag)
        written = _milliseconds(draft.path.stat())
        self._rename(draft.path, target)
        return ObjectInfo(key, draft.size, etag, written, type)

    def open(self, key: str) -> tuple[ObjectInfo, BinaryIO]:
        """The object and its file, at the first byte of the content; the file stays this version. `NotFound`."""
        try:
            file = self._path(key).open("rb")
        except (FileNotFoundError, NotADirectoryError):
            raise NotFound("This object does not exist.") from None
        try:
            return _read_header(key, file), file
        except BaseException:
            file.close()
            raise

    def stat(self, key: str) -> ObjectInfo:
        info, file = self.open(key)
        file.close()
        return info

    def copy(self, source: str, target: str, type: str | None = None) -> None:
        """Contents are never changed in place, so a copy of the same type is another name of the same file."""
        if type is not None and type != self.stat(source).type:
            self._copy_as(source, target, type)
            return
        link = self._tmp / secrets.token_hex(16)
        origin = self._path(source)
        try:
            try:
                os.link(origin, link)
            except PermissionError:
                os.close(os.open(link, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE))
                shutil.copyfile(origin, link)  # a file system without hard links
        except (FileNotFoundError, NotADirectoryError):
            raise NotFound("This object does not exist.") from None
        try:
            self._rename(link, self._path(target))
        finally:
            link.unlink(missing_ok=True)  # rename does nothing when both are the same file already

    def _copy_as(self, source: str, target: str, type: str) -> None:
        info, file = self.open(source)
        draft = self.draft()
        try:
            with file:
                shutil.copyfileobj(file, draft.file, COPY_CHUNK)
            draft.size = info.size
            self.commit(draft, target, type, info.etag)
        except BaseException:
            draft.drop()
            raise

    def delete(self, key: str) -> None:
        path = self._path(key)
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            path.unlink()
        for parent in path.parents:
            if parent == self._objects:
                break
            try:
                parent.rmdir()
            except OSError:
                break  # not empty, or gone already

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """In order of keys. Walks only the folders that can hold the prefix."""
        check_prefix(prefix)
        folder = prefix.rpartition("/")[0]
        for key in self._walk(self._objects / folder if folder else self._objects, f"{folder}/" if folder else ""):
            if key.startswith(prefix):
                with contextlib.suppress(NotFound):
                    yield self.stat(key)

    def begin_parts(self, key: str, type: str) -> str:
        upload = secrets.token_hex(16)
        folder = self._uploads(key) / upload
        _make_folder(folder)
        with os.fdopen(os.open(folder / "type", os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE), "w") as file:
            file.write(type)
        return upload

    def check_upload(self, key: str, upload: str) -> Path:
        """The folder of an unfinished upload; `NotFound` when it is over."""
        folder = self._uploads(key) / upload
        if not upload.isalnum() or not (folder / "type").is_file():
            raise NotFound("This upload does not exist.")
        return folder

    def commit_part(self, draft: Draft, key: str, upload: str, number: int) -> str:
        """Make the draft part ``number``; returns its etag."""
        folder = self.check_upload(key, upload)
        etag = draft.seal("part")
        try:
            os.replace(draft.path, folder / str(number))
        except FileNotFoundError:
            raise NotFound("This upload does not exist.") from None
        return etag

    def parts(self, key: str, upload: str) -> Sequence[Part]:
        folder = self.check_upload(key, upload)
        found = []
        for path in folder.iterdir():
            if path.name.isdigit():
                with path.open("rb") as file:
                    info = _read_header(key, file)
                found.append(Part(int(path.name), info.size, info.etag))
        return sorted(found, key=lambda part: part.number)

    def complete_parts(self, key: str, upload: str, parts: Sequence[Part]) -> ObjectInfo:
        folder = self.check_upload(key, upload)
        _check_parts(parts, {part.number: part for part in self.parts(key, upload)})
        wanted = sorted(parts, key=lambda part: part.number)
        draft = self.draft()
        try:
            for part in wanted:
                with (folder / str(part.number)).open("rb") as file:
                    file.seek(HEADER)
                    shutil.copyfileobj(file, draft.file, COPY_CHUNK)
                draft.size += part.size
            digest = hashlib.sha256("".join(part.etag for part in wanted).encode()).hexdigest()
            info = self.commit(draft, key, (folder / "type").read_text(), f"{digest[:32]}-{len(wanted)}")
        except FileNotFoundError:
            draft.drop()
            raise NotFound("This upload does not exist.") from None
        except BaseException:
            draft.drop()
            raise
        shutil.rmtree(folder, ignore_errors=True)
        self._drop_if_empty(folder.parent)
        return info

    def abort_parts(self, key: str) -> None:
        shutil.rmtree(self._uploads(key), ignore_errors=True)

    def _path(self, key: str) -> Path:
        *folders, name = check_key(key).split("/")
        return self._objects.joinpath(*folders, f"={name}")

    def _uploads(self, key: str) -> Path:
        return self._parts / hashlib.sha256(check_key(key).encode()).hexdigest()[:32]

    def _drop_if_empty(self, path: Path) -> None:
        with contextlib.suppress(OSError):
            path.rmdir()

    def _rename(self, source: Path, target: Path) -> None:
        for last in (*[False] * 100, True):
            try:
                _make_folder(target.parent)
                os.replace(source, target)
                break
            except (FileNotFoundError, FileExistsError):
                if last or not source.exists():
                    raise
                # A delete has removed the empty folder in between.
        with contextlib.suppress(FileNotFoundError):  # somebody has deleted it already
            descriptor = os.open(target.parent, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def _walk(self, folder: Path, prefix: str) -> Iterator[str]:
        try:
            entries = list(os.scandir(folder))
        except (FileNotFoundError, NotADirectoryError):
            return
        names = [(f"{entry.name}/", True) if entry.is_dir() else (entry.name[1:], False) for entry in entries]
        for name, is_folder in sorted(names):
            if is_folder:
                yield from self._walk(folder / name[:-1], prefix + name)
            else:
                yield prefix + name


def _make_folder(path: Path) -> None:
    """A private one, and so all on the way to it: `Path.mkdir` gives its mode to the last alone."""
    if not path.parent.exists():
        _make_folder(path.parent)
    path.mkdir(exist_ok=True, mode=FOLDER_MODE)


def _read_header(key: str, file: BinaryIO) -> ObjectInfo:
    head = file.read(HEADER)
    if not head.startswith(MAGIC):
        raise NotFound("This object does not exist.")  # somebody else's file
    length = int.from_bytes(head[8:12], "big")
    header = msgspec.json.decode(head[12 : 12 + length], type=_Header)
    stat = os.fstat(file.fileno())
    return ObjectInfo(key, stat.st_size - HEADER, header.etag, _milliseconds(stat), header.type)


def _milliseconds(stat: os.stat_result) -> int:
    return stat.st_mtime_ns // 1_000_000


def _check_parts(parts: Iterable[Part], present: dict[int, Part]) -> None:
    wanted = sorted(parts, key=lambda part: part.number)
    if not wanted:
        raise Invalid("parts: Name at least one part.", field="parts", limit=1)
    for position, part in enumerate(wanted):
        found = present.get(part.number)
        if found is None or found.etag != part.etag:
            raise Invalid(f"parts: Part {part.number} is absent or has another etag.", field="parts")
        if found.size < PART_MIN and position < len(wanted) - 1:
            raise Invalid(
                f"parts: Part {part.number} has fewer than {PART_MIN} bytes, and is not the last.",
                field="parts",
                limit=PART_MIN,
            )
