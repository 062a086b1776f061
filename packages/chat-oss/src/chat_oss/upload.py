"""What the service remembers of an upload and of what became of it."""

from __future__ import annotations

from typing import Literal

from attrs import frozen

GRACE_MS = 3_600_000
"""How long a content is held for who writes it, and how long a staging key is known after its links are over."""
UNSENT_MS = 86_400_000
"""How long a finished file may wait for its message."""

WORN = 1
"""The ``seq`` of the picture that a profile wears."""


def profile_place(user: str) -> str:
    """What stands in the column ``conversation`` of pictures for a user's profile; no conversation is called so."""
    return f"profile:{user}"


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
    utf8: bool = False
    unstripped: bool = False


@frozen(kw_only=True)
class Finished:
    """What became of an upload: its verified content and facts."""

    file: str
    ref: str
    content: str
    type: str
    size: int
    width: int | None = None
    height: int | None = None
    animated: bool = False
    large: bool = False
    utf8: bool = False
    unstripped: bool = False
