"""The second line of defence: numbers that must exist, that this user may see, and that no push and no sync brought.

`seq` is 1, 2, 3 … without a gap, so a client can see by itself that something is missing, whatever the server believes
that it has handed over. What is missing is asked for by `history`, and told as `GapFound`: a gap is a defect of the
server or of this client, and must not be repaired in silence.
"""

from __future__ import annotations

from collections.abc import Sequence

from attrs import define, field

from chat_common.protocol.client_events import GapFound
from chat_common.protocol.client_jobs import PAGE, Job
from chat_common.protocol.client_state import Room
from chat_common.wire import Message


@define
class Gaps:
    """At most one run of missing numbers a conversation is asked for at a time; ``count`` numbers were found so."""

    count: int = 0
    _asked: dict[str, _Run] = field(factory=dict)

    def open(self, room: Room, mark: int) -> bool:
        """Whether something is missing; then `job` asks for the first run of it, as a part of the debt ``mark``."""
        run = missing(room)
        if run is None:
            self._asked.pop(room.conversation, None)
            room.checked = max(room.checked, room.certain)
            return False
        self._asked[room.conversation] = _Run(*run, room.certain, mark)
        return True

    def job(self, room: Room, mark: int) -> Job | None:
        """The call that asks. None when nothing is missing, or when a sync has to come first."""
        run = self._asked.get(room.conversation)
        if run is None or run.mark != mark or room.owed:
            return None
        params = {"conversation": room.conversation, "after": run.first - 1, "limit": PAGE}
        return Job("gap", "history", params, room.conversation, room.heard, mark, begun=room.begun)

    def answered(self, room: Room, page: Sequence[Message]) -> tuple[list[Message], GapFound | None]:
        """The rows of the answer that belong to what was asked, and what is to be told of it.

        A page ascends and leaves nothing out, so what it steps over does not exist (any more), and is not asked for
        again; an empty page ends the matter. None is told when pushes have brought everything while the question was
        under way.
        """
        run = self._asked.pop(room.conversation, None)
        if run is None:
            return [], None
        rows = [row for row in page if row.seq <= run.certain]
        upto = rows[-1].seq if rows else run.certain
        found = [row.seq for row in rows if row.seq not in room.messages]
        absent = not all(seq in room.messages for seq in range(run.first, min(run.last, upto) + 1))
        room.checked = max(room.checked, upto)
        self.count += len(found)
        told = GapFound(room.conversation, run.first, run.last, tuple(found)) if found or absent else None
        return rows, told

    def forget(self, conversation: str) -> None:
        """The conversation is read anew."""
        self._asked.pop(conversation, None)

    def clear(self) -> None:
        """Everything is read anew."""
        self._asked.clear()


@define
class _Run:
    first: int
    last: int
    certain: int
    mark: int


def missing(room: Room) -> tuple[int, int] | None:
    """The first run of at most ``PAGE`` numbers that exist, that this user may see, and that are not held.

    A hole between two spans is no gap, nor is what lies before the beginning of this copy.
    """
    if room.rev is None or room.inbox is None:
        return None
    known = max(room.begun_at, room.checked, room.inbox.first_seq - 1)
    for span in room.spans:
        end = min(span[1], room.certain) if len(span) > 1 else room.certain
        first = max(span[0], known + 1)
        while first <= end and first in room.messages:
            first += 1
        if first <= end:
            last = first
            while last < end and last + 1 not in room.messages and last - first + 1 < PAGE:
                last += 1
            return first, last
    return None
