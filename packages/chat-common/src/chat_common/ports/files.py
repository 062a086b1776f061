"""Files that people send: the service that takes them in and hands out links, and how messages take them.

`Files` does the flow over an `ObjectStore` and asks `FileRights`; `Attachments` binds files to messages. A file belongs
to one user and one conversation, and stands in at most one message.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Annotated, Any, Protocol

from attrs import define, field
from msgspec import UNSET, Meta, UnsetType

from chat_common.decoding import prepare
from chat_common.errors import Unavailable
from chat_common.ports.objects import Link
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
        pattern=rf"^(?!\.{{1,2}}\Z)(?=.*[^{_UNSEEN}])[^{_FORBIDDEN}]+\Z",
        description="something that is seen, neither . nor ..; no control characters, none without width that no "
        "script needs, and none that turn the direction of writing",
    ),
]
"""Refused rather than cleaned: whoever is shown a name must see what it is, and the sender what became of his."""
PartNumber = Annotated[int, Meta(ge=1, le=10_000)]

# --- what a client says and hears


@define(kw_only=True)
class BeginUpload:
    """``conversation``: where the file is to be sent; absent: a picture for the caller's own profile. ``type``: a media
    type; what the content really is decides. ``sha256``: checked at the end, if given."""

    conversation: Id | UnsetType = UNSET
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
    """A finished file. ``type``: what it is; a picture is told by its content, whatever it was announced as. ``width``
    and ``height`` in pixels, upright; absent for what is not a picture. ``unstripped``: a picture or video of a kind
    that stays byte for byte as it was, so that it may still name place and camera; absent where it cannot."""

    file: str
    name: str
    type: str
    size: int
    width: int | UnsetType = UNSET
    height: int | UnsetType = UNSET
    animated: bool | UnsetType = UNSET
    unstripped: bool | UnsetType = UNSET


prepare(UploadBegun, PartLinks, FileFacts)


@define(kw_only=True)
class AskLinks:
    files: Annotated[list[Id], Meta(min_length=1, max_length=50)]


@define(kw_only=True)
class LinkedFile:
    """A file that the caller may read, until ``expires_at`` under these addresses. ``small``, ``large``: pictures."""

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


@define(kw_only=True)
class OwnFile:
    """A finished file as its owner is told of it. ``conversation``: where it was uploaded to, absent for a picture of
    the profile; ``seq``: of the message that it stands in."""

    file: str
    name: str
    type: str
    size: int
    conversation: str | UnsetType = UNSET
    seq: int | UnsetType = UNSET


@define(kw_only=True)
class FileRoom:
    """Bytes that all users together keep, the most that they may (0: no bound), and those for which the store has room
    (None: it does not say)."""

    kept: int
    total: int
    free: int | None


class Files(Protocol):
    """Takes files in and hands out links. Every method raises `Unavailable` while the store is dead.

    Callers come with their user id; membership and intervals are the business of `FileRights`.
    """

    async def begin(self, user: str, request: BeginUpload) -> UploadBegun:
        """`NotFound`, `NotAMember`, `NotPermitted` as for a message; `Invalid` (type, size); `RateLimited` (quota)."""
        ...

    async def parts(self, user: str, request: UploadParts) -> PartLinks:
        """Return links for parts of the caller's own upload. `NotFound`; `Conflict`: it has no parts or is finished."""
        ...

    async def finish(self, user: str, ref: str, request: FinishUpload) -> FileFacts:
        """Verify what was uploaded and make it a file. The same ``ref`` again gives the same answer.

        `NotFound`: the caller has no such upload. `Conflict`: finished before, or nothing has been uploaded yet.
        `Invalid`: the content is not what was announced (``size``, ``type``, ``sha256``) or not readable (``file``); an
        upload in parts is forgotten then, any other after the third time. As `begin` when the caller may not send there
        any more: the sweep removes what was uploaded. Finishes of one user are done one after the other.
        """
        ...

    async def cancel(self, user: str, request: CancelUpload) -> None:
        """Forget the caller's own upload or unsent file. `NotFound`; `Conflict` when it stands in a message."""
        ...

    async def links(self, user: str, request: AskLinks) -> FileLinks:
        """Short-lived links to the files among these that the user may read. Does no I/O with the store."""
        ...

    async def avatar(self, file: str, *, large: bool) -> Link:
        """A short-lived link to the picture of a profile, ``large`` or small. `NotFound` when nobody wears it.

        Whoever knows the file's id may see it, as everybody who sees the user does.
        """
        ...

    async def own(self, user: str, after: str, limit: int) -> Sequence[OwnFile]:
        """The user's finished files, in order of their ids, at most ``limit`` behind the id ``after``."""
        ...

    def content(self, user: str, file: str) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """The content of a finished file of the user's own, as `ObjectContents.get` gives it. `NotFound`."""
        ...

    async def room(self) -> FileRoom:
        """How much is kept, and how much more may be. Does not raise `Unavailable` while the store is away."""
        ...

    async def sweep(self) -> int:
        """Remove what nobody needs any longer; returns how many. Any number of processes may do it at once."""
        ...


class FileRights(Protocol):
    """What the application says about its users, conversations and messages. Synchronous, for it is asked within the
    transactions of files: ``connection`` is the caller's, and must not be committed."""

    def may_send(self, connection: Any, user: str, conversation: str, now: int) -> None:
        """Return when the user may send a file to the conversation at ``now`` (ms since 1970); else raise what the
        client is to hear: `NotFound`, `NotAMember`, `NotPermitted`. An empty ``conversation`` is the user's profile."""
        ...

    def joined_at(self, connection: Any, user: str) -> int:
        """When the user's account was made, in ms since 1970; 0 where that does not matter."""
        ...

    def visible(self, connection: Any, user: str, messages: Collection[tuple[str, int]]) -> Collection[tuple[str, int]]:
        """Those of these messages, as conversation and seq, that the user may read now."""
        ...


_NO_FILES = "This server keeps no files: the package interesting-chat-oss is not installed."
FILE_KINDS = frozenset({"image", "file", "voice", "video"})
"""The kinds of message that carry files."""


class Attachments(Protocol):
    """Binds files to messages, within the transaction that stores or recalls the message. Stateless: may be run again
    when a batch is replayed."""

    @property
    def kinds(self) -> Collection[str]:
        """The kinds of message that carry files."""
        ...

    def attach(
        self, connection: Any, user: str, conversation: str, seq: int, kind: str, body: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Take the files that ``body`` names for message ``seq``; the body to store, with the server's facts in it.

        Only a finished file of the user's own, begun for this conversation and in no message yet. `NotFound` for all
        that is not (no oracle), `Conflict` when it was sent before, `Invalid` when the kind or the duration does not
        fit; each names the field. `Unavailable` when this server keeps no files.
        """
        ...

    def detach(self, connection: Any, conversation: str, seq: int) -> None:
        """The message was recalled: nobody may read its files from now on, and the next sweep removes them."""
        ...

    def wear(self, connection: Any, user: str, file: str | None) -> None:
        """Make a finished picture, begun without a conversation, the one of the user's profile; None: no picture. The
        former one goes with the next sweep. Errors as of `attach`, field ``file``."""
        ...

    def forget(self, connection: Any, user: str) -> None:
        """The user's account was deleted: what was uploaded and stands in no message goes with the next sweep."""
        ...


class NoAttachments:
    """`Attachments` of an application that keeps no files."""

    kinds = FILE_KINDS

    def attach(
        self, connection: Any, user: str, conversation: str, seq: int, kind: str, body: Mapping[str, Any]
    ) -> dict[str, Any]:
        raise Unavailable(_NO_FILES)

    def detach(self, connection: Any, conversation: str, seq: int) -> None:
        """Nothing is attached to any message."""

    def wear(self, connection: Any, user: str, file: str | None) -> None:
        if file is not None:
            raise Unavailable(_NO_FILES)

    def forget(self, connection: Any, user: str) -> None:
        """Nothing was uploaded."""
