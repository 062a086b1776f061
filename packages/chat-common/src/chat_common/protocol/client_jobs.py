"""The calls by which a client completes its copy, and the pauses between tries."""

from __future__ import annotations

from typing import Any, Literal

from attrs import define, field

from chat_common.errors import Internal, RateLimited, Unavailable
from chat_common.protocol.client_state import Room

PAGE = 100
"""Rows asked for in one call."""
PASSING = (Internal, RateLimited, Unavailable)
"""Errors that may be gone at the next try."""
ROOMS_AT_ONCE = 4
"""Conversations that are synced at the same time, so that a long absence is no flood of calls."""
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
"""Seconds between tries while the server answers with an error."""


@define
class Job:
    """A call that fills in what the copy lacks. ``mark`` tells whether more became missing while it ran."""

    kind: Literal["list", "contacts", "version", "rows", "room", "page", "gap"]
    command: str
    params: dict[str, Any]
    conversation: str = ""
    heard: int = 0
    mark: int = 0
    generation: int = 0
    begun: int = 0

    @property
    def name(self) -> str:
        """Only one call of each name is under way at a time."""
        return f"room:{self.conversation}" if self.conversation else self.kind


def list_job(kind: Literal["list", "contacts"], cursor: str | None) -> Job:
    """A page of one of the user's two lists."""
    paged: dict[str, Any] = {"limit": PAGE} if cursor is None else {"limit": PAGE, "cursor": cursor}
    return Job(kind, "inbox.list" if kind == "list" else "contact.list", paged)


def version_job(epoch: str | None, version: int | None, mark: int) -> Job:
    """What was stamped for the user alone since the copy's `version`."""
    return Job("version", "sync", {"epoch": epoch, "version": version or 0, "limit": PAGE}, mark=mark)


def room_job(room: Room, epoch: str | None, mark: int) -> Job:
    """What was stamped since the copy's `rev`, or the newest page where the copy has not begun."""
    name = room.conversation
    if room.rev is None:
        return Job("page", "history", {"conversation": name, "limit": PAGE}, name, room.heard, mark, begun=room.begun)
    params = {"epoch": epoch, "conversation": name, "rev": room.rev, "limit": PAGE}
    return Job("room", "sync", params, name, room.heard, mark, begun=room.begun)


@define
class Lacking:
    """Conversations that the server counts among the user's, and of which the list holds no row.

    The list is read page by page. A hot conversation in which something is said meanwhile moves from a later page to
    the top, so it is on none of them, and no version tells of it: a sync names it, and its row is asked for.
    """

    names: dict[str, None] = field(factory=dict)

    def clear(self) -> None:
        """Everything is read anew."""
        self.names.clear()

    def note(self, room: Room) -> None:
        """A sync has named this conversation."""
        if room.inbox is None:
            self.names[room.conversation] = None

    def job(self) -> Job | None:
        """The call that asks for the rows, the longest lacking ones first."""
        return Job("rows", "inbox.list", {"conversations": list(self.names)[:PAGE]}) if self.names else None

    def answered(self, job: Job) -> None:
        """A row that the answer leaves out no longer belongs to the user."""
        for name in job.params["conversations"] if job.kind == "rows" else ():
            self.names.pop(name, None)


@define
class Pause:
    """How long a client waits after errors of the server: nothing is asked before ``until``, and each error in a row
    doubles the wait. Syncing has one, and so has each conversation with messages to send."""

    seconds: float = 0.0
    until: float = 0.0

    def longer(self, now: float, at_least: float | None) -> None:
        """Another error; ``at_least``: the seconds that the server asked for, if any."""
        self.seconds = min(LONGEST_PAUSE, self.seconds * 2 or FIRST_PAUSE)
        self.until = now + max(self.seconds, at_least or 0.0)

    def over(self) -> None:
        """A call succeeded: the next error begins with the shortest wait."""
        self.seconds = self.until = 0.0
