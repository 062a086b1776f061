"""Files that people send: the service that takes them in and hands out links, and the table that it needs.

`Files` does the flow over an `ObjectStore`; `FileRecords` remembers, with the rights of the application around it.
A file belongs to one user and one conversation, and stands in at most one message.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal, Protocol

from attrs import define, field, frozen
from msgspec import UNSET, Meta, UnsetType

from chat_common.wire import Id

Digest = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z", description="64 lower-case hexadecimal digits")]
"""SHA-256 of a content, in lower-case hexadecimal."""
_FORBIDDEN = (
    r"\u0000-\u001f\u007f-\u009f\u2028\u2029\ud800-\udfff"  # no text, or a new line
    r"\u061c\u200e\u200f\u202a-\u202e\u2066-\u206f"  # turn the direction of writing, or did once
    r"\u00ad\u180e\u200b\u2060-\u2065\ufeff\ufff9-\ufffb"  # are not seen
)
# What is not seen, but belongs to scripts and to emoji: joiners, variation selectors, tags, fillers.
_UNSEEN = (
    r"\s\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200c\u200d\u2800\u3164\ufe00-\ufe0f\uffa0"
    r"\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
FileName = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=255,
        pattern=rf"^(?=.*[^{_UNSEEN}])[^{_FORBIDDEN}]+\Z",
        description="something that is seen; no control characters, none without width that no script needs, and none "
        "that turn the direction of writing",
    ),
]
"""Refused rather than cleaned: whoever is shown a name must see what it is, and the sender what became of his."""
PartNumber = Annotated[int, Meta(ge=1, le=10_000)]

# --- what a client says and hears


@define(kw_only=True)
class BeginUpload:
    """``type``: a media type; what the content really is decides. ``sha256``: checked at the end, if given."""

    conversation: Id
    name: FileName
    type: Annotated[str, Meta(min_length=3, max_length=128)]
    size: Annotated[int, Meta(ge=1, le=5 * 1024**3)]
    sha256: Digest | None = None


@define(kw_only=True)
class UploadRequest:
    """An HTTP request to make, with exactly these headers; ``url`` may be relative to the server's address."""

    method: str
    url: str
    headers: dict[str, str]


@define(kw_only=True)
class UploadBegun:
    """Either ``put``: one request with all of it. Or ``part_size`` and ``parts``: ask `upload.parts` for links."""

    file: str
    expires_at: int
    put: UploadRequest | UnsetType = UNSET
    part_size: int | UnsetType = UNSET
    parts: int | UnsetType = UNSET


@define(kw_only=True)
class UploadParts:
    """Links for these parts (``numbers`` may be empty: to learn which have arrived)."""

    file: Id
    numbers: Annotated[list[PartNumber], Meta(max_length=100)] = field(factory=list)


@define(kw_only=True)
class PartLink:
    number: int
    size: int
    put: UploadRequest


@define(kw_only=True)
class PartLinks:
    """``have``: numbers of the parts that have arrived."""

    links: list[PartLink]
    have: list[int]
    expires_at: int


@define(kw_only=True)
class FinishUpload:
    file: Id
    sha256: Digest | None = None


@define(kw_only=True)
class CancelUpload:
    file: Id


@define(kw_only=True)
class Canceled:
    """Nothing to say."""


@define(kw_only=True)
class FileFacts:
    """A finished file. ``width`` and ``height`` in pixels, upright; absent for what is no picture."""

    file: str
    name: str
    type: str
    size: int
    width: int | UnsetType = UNSET
    height: int | UnsetType = UNSET
    animated: bool | UnsetType = UNSET


@define(kw_only=True)
class AskLinks:
    files: Annotated[list[Id], Meta(min_length=1, max_length=50)]


@define(kw_only=True)
class LinkedFile:
    """A file that one may read, until ``expires_at`` under these addresses. ``small``, ``large``: pictures alone."""

    file: str
    name: str
    type: str
    size: int
    url: str
    expires_at: int
    small: str | UnsetType = UNSET
    large: str | UnsetType = UNSET
    width: int | UnsetType = UNSET
    height: int | UnsetType = UNSET


@define(kw_only=True)
class FileLinks:
    """In the order asked; what does not exist or may not be read is left out."""

    files: list[LinkedFile]


class Files(Protocol):
    """Takes files in and hands out links. Every method raises `Unavailable` while the store is dead.

    Callers come with their user id; membership and intervals are the business of `FileRecords`.
    """

    async def begin(self, user: str, request: BeginUpload) -> UploadBegun:
        """`NotFound`, `NotAMember`, `NotPermitted` as for a message; `Invalid` (type, size); `RateLimited` (quota)."""
        ...

    async def parts(self, user: str, request: UploadParts) -> PartLinks:
        """Links for parts of one's own upload; `NotFound`; `Conflict` when it has no parts or is finished."""
        ...

    async def finish(self, user: str, ref: str, request: FinishUpload) -> FileFacts:
        """Verify what was uploaded and make it a file. The same ``ref`` again gives the same answer.

        `NotFound`: no upload of one's own. `Conflict`: finished before, or nothing has been uploaded yet. `Invalid`:
        the content is not what was announced (``size``, ``type``, ``sha256``) or not readable (``file``); an upload in
        parts is forgotten then, any other after the third time. As `begin` when one may not send there any more: the
        sweep removes what was uploaded. Finishes of one user are done one after the other.
        """
        ...

    async def cancel(self, user: str, request: CancelUpload) -> None:
        """Forget one's own upload or unsent file. `NotFound`; `Conflict` when it stands in a message."""
        ...

    async def links(self, user: str, request: AskLinks) -> FileLinks:
        """Short-lived links to the files among these that the user may read. Does no I/O with the store."""
        ...

    async def sweep(self) -> int:
        """Remove what nobody needs any more; how many things went. Any number of processes may do it at once."""
        ...


# --- the table

GRACE_MS = 3_600_000
"""How long a reservation of a content lasts, and a staging key is known after its links are over."""
UNSENT_MS = 86_400_000
"""How long a finished file may wait for its message."""

State = Literal["begun", "finished"]


@frozen(kw_only=True)
class Upload:
    """A row: an upload under way or a finished file.

    ``staging``: the key that the client writes to; ``upload``: the store's id when it comes in parts of ``part_size``.
    ``content``: where the finished content lies. Times in ms since 1970.
    """

    file: str
    user: str
    conversation: str
    name: str
    type: str
    size: int
    state: State
    expires_at: int
    staging: str
    content: str | None = None
    upload: str | None = None
    part_size: int = 0
    sha256: str | None = None
    ref: str | None = None
    sent: bool = False
    stored_size: int = 0
    width: int | None = None
    height: int | None = None
    animated: bool = False
    large: bool = False


@frozen(kw_only=True)
class Quota:
    """What one user may begin a day (UTC): files, and bytes as announced."""

    files: int
    bytes: int


@frozen(kw_only=True)
class Finished:
    """What became of an upload: its verified content and facts."""

    file: str
    ref: str
    content: str
    size: int
    width: int | None = None
    height: int | None = None
    animated: bool = False
    large: bool = False


class FileRecords(Protocol):
    """The memory of `Files`. Every method is one transaction; all times are ms since 1970, passed in.

    A content is a set of objects below one key prefix, shared by all files with the same digest. It is registered by
    `reserve` before its objects are written, and gets its digest by `finish` when all of them are: what has a digest is
    whole, and never written again. It is removed in two steps, so that no crash leaves objects that nobody knows or
    rows whose objects are gone: `doom` first makes it impossible to use, `forget` drops its row after the objects were
    deleted. A content is held from `reserve` to its own `finish`, at most `GRACE_MS`, and not doomed meanwhile,
    whatever becomes of the upload, which may be finished by another try in another process.
    """

    async def begin(self, upload: Upload, quota: Quota, now: int) -> None:
        """Store a begun upload, if the user may send to its conversation now, and count it against the quota.

        `NotFound`, `NotAMember`, `NotPermitted`; `RateLimited` over the quota.
        """
        ...

    async def undo(self, upload: Upload, now: int) -> None:
        """Forget a begun upload whose beginning failed; the quota of ``now``, which is when it was begun, has it
        back. What the store may have of it stays known."""
        ...

    async def set_upload(self, file: str, upload: str) -> None:
        """Note the store's id of an upload in parts."""
        ...

    async def mine(self, user: str, file: str) -> Upload:
        """The user's own upload or file; `NotFound` for all others alike."""
        ...

    async def reserve(self, staging: str, content: str, now: int) -> None:
        """Register a new content for the upload with this staging key, held beside those of other tries.

        `Conflict`: the upload is finished or gone. As `begin` when its user may not send there any more.
        """
        ...

    async def finish(self, done: Finished, digest: str | None, now: int) -> str:
        """Make a begun upload a file; ``done.content`` is held no more. Returns its content: the live one that has this
        digest; when there is none, or no digest, ``done.content``, which has the digest from now on.

        `Conflict`: it is finished (under another ref) or gone. `Unavailable`: its content is gone, for what it held was
        held by nobody any more. As `begin` when its user may not send there any more. With the ref it was finished
        with: its content, unchanged.
        """
        ...

    async def failed(self, file: str, most: int) -> bool:
        """Count that a begun upload was found to be wrong. At the ``most``-th time it is forgotten: True."""
        ...

    async def drop(self, user: str, file: str) -> None:
        """Forget an upload or unsent file of the user's. `NotFound`; `Conflict` when it was sent."""
        ...

    async def readable(self, user: str, files: Sequence[str]) -> Sequence[Upload]:
        """Those of these files that stand in messages which the user may read."""
        ...

    async def expire(self, now: int) -> int:
        """Drop begun uploads past their time, finished files not sent in time, files of recalled messages."""
        ...

    async def stagings(self, now: int, limit: int) -> Sequence[str]:
        """Staging keys whose links are over for good: their objects and parts are to be removed."""
        ...

    async def forget_stagings(self, keys: Sequence[str]) -> None: ...

    async def doom(self, now: int, limit: int) -> Sequence[str]:
        """Make contents that no file uses and no upload has reserved impossible to use; all doomed ones, to delete."""
        ...

    async def forget(self, contents: Sequence[str]) -> None:
        """Drop the rows of doomed contents whose objects are deleted."""
        ...
