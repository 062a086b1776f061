"""The records of `protocol.md` as classes: what stands in frames, answers and pushes.

They are attrs classes that msgspec reads and writes: `UNSET` is absent, on the wire too; unknown fields are ignored on
reading. Integers are below 2**53, times are milliseconds since 1970 UTC, durations are seconds.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from attrs import define
from msgspec import UNSET, Meta, UnsetType

from chat_common.decoding import prepare

MAX_INT = 2**53 - 1

Id = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_-]+\Z")]
"""An opaque id: user, conversation, device, session, ticket, file."""
Ref = Annotated[str, Meta(min_length=1, max_length=64)]
Count = Annotated[int, Meta(ge=0, le=MAX_INT)]
Seq = Annotated[int, Meta(ge=1, le=MAX_INT)]
Role = Literal["owner", "admin", "member"]
"""What a member is in a group; what each may do there stands in `chat_server.store.rights`."""
GivenRole = Literal["admin", "member"]
"""The roles that ``group.role`` gives; the owner's is handed over by ``group.transfer``."""


@define(kw_only=True)
class Badge:
    """What a user wears beside the name. ``name``: in English, or the first language there is; ``names``: in each."""

    item: Id
    name: str
    picture: str | UnsetType = UNSET
    names: dict[str, str] | UnsetType = UNSET


@define(kw_only=True)
class Item:
    """Something in a user's backpack; what it is called and looks like stands in the catalogue."""

    key: str
    item: Id
    granted_at: int
    version: int
    spent_at: int | UnsetType = UNSET


@define(kw_only=True)
class User:
    """``deleted``: the account is gone, and ``name`` only says so; absent for all others. ``handle``: the login name,
    one user's alone. ``skeleton``: what the name looks like (UTS 39), where that is not the name itself in small
    letters: two users whose names have one skeleton can be mixed up."""

    user: Id
    name: str
    avatar: str | UnsetType = UNSET
    badge: Badge | UnsetType = UNSET
    deleted: Literal[True] | UnsetType = UNSET
    handle: str | UnsetType = UNSET
    skeleton: str | UnsetType = UNSET


@define(kw_only=True)
class Quote:
    """What a reply quotes, as it was when the reply was made."""

    seq: int
    sender: str
    kind: str
    text: str


MODERATORS = "@moderators"
"""Stands for those who run the server, where they have taken a message down."""


@define(kw_only=True)
class Recalled:
    """``by``: the sender, or `MODERATORS`."""

    by: str
    time: int


@define(kw_only=True)
class Reaction:
    """``users``: the first three who reacted so; absent where the last reaction is from before servers said it."""

    emoji: str
    count: int
    users: list[str] | UnsetType = UNSET


@define(kw_only=True)
class Message:
    """A message in its newest state. Recalled: no body."""

    conversation: str
    seq: int
    rev: int
    sender: str
    ref: str
    kind: str
    time: int
    body: Any = UNSET
    reply_to: Quote | UnsetType = UNSET
    mentions: list[str] | UnsetType = UNSET
    edited_at: int | UnsetType = UNSET
    recalled: Recalled | UnsetType = UNSET
    reactions: list[Reaction] | UnsetType = UNSET


@define(kw_only=True)
class Member:
    """A membership: one row a person and conversation. The last span closed: has left."""

    conversation: str
    rev: int
    user: User
    role: Role
    spans: list[list[int]]
    joined_at: int
    muted_until: int | UnsetType = UNSET
    read: int | UnsetType = UNSET


@define(kw_only=True)
class Conversation:
    """What all members see of a conversation. ``members`` is a count; ``invites``: who may, absent for all members.
    ``first_seq``: messages before it were deleted for everybody; absent where none were. ``kept_days``: after how many
    days they are, where that was said of this conversation."""

    conversation: str
    rev: int
    kind: Literal["direct", "group"]
    members: int
    name: str | UnsetType = UNSET
    avatar: str | UnsetType = UNSET
    announcement: str | UnsetType = UNSET
    muted_until: int | UnsetType = UNSET
    dissolved: bool | UnsetType = UNSET
    invites: Literal["members", "admins"] | UnsetType = UNSET
    first_seq: int | UnsetType = UNSET
    kept_days: int | UnsetType = UNSET


@define(kw_only=True)
class Preview:
    sender: str
    kind: str
    text: str


@define(kw_only=True)
class Head:
    seq: int
    rev: int
    time: int
    preview: Preview | UnsetType = UNSET


@define(kw_only=True)
class Inbox:
    """What one user sees in the own list; larger ``order`` first. ``mentioned`` is the newest unread one's seq.
    ``marked_unread``: to come back to, though it is read; `read` ends it.
    ``pending``: an invitation that waits for an answer (``group.accept``, ``group.reject``)."""

    conversation: str
    kind: Literal["direct", "group"]
    spans: list[list[int]]
    first_seq: int
    head: Head
    read: int
    unread: int
    role: Role
    order: int
    version: int | UnsetType = UNSET
    name: str | UnsetType = UNSET
    avatar: str | UnsetType = UNSET
    peer: User | UnsetType = UNSET
    mentioned: int | UnsetType = UNSET
    muted: bool | UnsetType = UNSET
    pinned: bool | UnsetType = UNSET
    marked_unread: bool | UnsetType = UNSET
    hidden: bool | UnsetType = UNSET
    left: bool | UnsetType = UNSET
    pending: bool | UnsetType = UNSET
    invited_by: User | UnsetType = UNSET


@define(kw_only=True)
class Contact:
    user: User
    state: Literal["none", "asked", "friends"]
    version: int
    text: str | UnsetType = UNSET
    asked_by: str | UnsetType = UNSET
    blocked: bool | UnsetType = UNSET


@define(kw_only=True)
class Limits:
    """What `welcome` tells a client; all of them counts of what the name says."""

    frame_bytes: int = 65_536
    server_frame_bytes: int = 1_048_576
    frames_per_message: int = 128
    text_chars: int = 8_192
    page: int = 100
    members_per_call: int = 200
    mentions: int = 50
    users_per_get: int = 50
    watch: int = 200
    json_depth: int = 32


@define(kw_only=True)
class SubmitMessage:
    """The parameters of ``submit``; also what an application hands to the outbox in its own transaction."""

    conversation: Id
    kind: Annotated[str, Meta(min_length=1, max_length=64)]
    body: Any
    reply_to: Seq | None = None
    mentions: Annotated[list[Ref], Meta(max_length=50)] | None = None

    @property
    def target(self) -> str:
        """What the text is for: ``submit``, or as `OtherText` says. No client can set it."""
        return "submit"


@define(kw_only=True)
class OtherText(SubmitMessage):
    """What a user says to others otherwise than by a new message, as interceptors at the point ``submit`` get it.

    ``target``: ``message.edit`` (with the kind of that message), ``message.react``, ``user.name``, ``user.handle``,
    ``group.name``, ``group.announcement``, ``contact.text`` or ``file.name`` (all of kind ``text``). ``conversation``
    is empty where there is none.
    """

    target: str = ""


@define(kw_only=True)
class Receipt:
    """Message, its numbers and its outbox row are committed and on disk."""

    conversation: str
    seq: int
    rev: int
    time: int


prepare(
    Badge,
    Item,
    User,
    Quote,
    Recalled,
    Reaction,
    Message,
    Member,
    Conversation,
    Preview,
    Head,
    Inbox,
    Contact,
    Limits,
    SubmitMessage,
    OtherText,
    Receipt,
)
