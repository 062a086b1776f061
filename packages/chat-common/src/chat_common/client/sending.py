"""Messages on their way out: kept until the server's receipt, in order per conversation, once per ref.

The queue decides and remembers; somebody else sends. It has no clock and no I/O but its journal.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TextIO

from attrs import asdict, define, field, frozen

from chat_common.errors import ChatError
from chat_common.protocol.client_jobs import PASSING, Pause
from chat_common.wire import Receipt


@frozen
class Outgoing:
    """A message that waits for its receipt. The ref makes it one message however often it is sent."""

    ref: str
    conversation: str
    kind: str
    body: Any
    reply_to: int | None = None
    mentions: list[str] | None = None

    def params(self) -> dict[str, Any]:
        """What `submit` is called with."""
        return {name: value for name, value in asdict(self).items() if name != "ref" and value is not None}


@frozen
class MessageSent:
    """A queued message has its receipt; told for messages of an earlier run too."""

    outgoing: Outgoing
    receipt: Receipt


@frozen
class MessageRefused:
    """A queued message was refused for good and has left the queue."""

    outgoing: Outgoing
    error: ChatError


@define
class _Line:
    waiting: dict[str, Outgoing] = field(factory=dict)
    sending: str | None = None
    pause: Pause = field(factory=Pause)


@define
class SendQueue:
    """One message of a conversation is under way at a time: a later one cannot overtake one that must be repeated.

    With ``path`` the queue is also in a file, which a killed process leaves intact (not a killed machine: it is
    flushed, not synced to disk). One process at a time.
    """

    path: Path | None = None
    _lines: dict[str, _Line] = field(factory=dict, init=False)
    _journal: TextIO | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        if self.path is None:
            return
        left = _read(self.path)
        fresh = self.path.with_name(self.path.name + ".new")
        fresh.write_text("".join(_entry(outgoing) for outgoing in left), encoding="utf-8")
        os.replace(fresh, self.path)
        self._journal = self.path.open("a", encoding="utf-8")
        for outgoing in left:
            self._lines.setdefault(outgoing.conversation, _Line()).waiting[outgoing.ref] = outgoing

    def __len__(self) -> int:
        return sum(len(line.waiting) for line in self._lines.values())

    def entries(self) -> list[Outgoing]:
        """What waits, in order per conversation."""
        return [outgoing for line in self._lines.values() for outgoing in line.waiting.values()]

    def add(self, outgoing: Outgoing) -> None:
        """Append to the conversation's line. The same ref twice is the same message."""
        line = self._lines.setdefault(outgoing.conversation, _Line())
        if outgoing.ref not in line.waiting:
            line.waiting[outgoing.ref] = outgoing
            self._write(_entry(outgoing))

    def take(self, now: float) -> list[Outgoing]:
        """The messages to submit now: the first of each line whose previous message is done."""
        due = []
        for line in self._lines.values():
            if line.waiting and line.sending is None and line.pause.until <= now:
                line.sending = next(iter(line.waiting))
                due.append(line.waiting[line.sending])
        return due

    def deadline(self) -> float | None:
        """When a line that pauses goes on, or None."""
        paused = [line.pause.until for line in self._lines.values() if line.waiting and line.sending is None]
        return min(paused, default=None)

    def sent(self, outgoing: Outgoing) -> None:
        """The receipt has come."""
        self._done(outgoing)

    def refused(self, outgoing: Outgoing, error: ChatError, now: float) -> bool:
        """True when the message has left the queue for good; False when it is going to be tried again."""
        if not isinstance(error, PASSING):
            self._done(outgoing)
            return True
        line = self._lines[outgoing.conversation]
        line.sending = None
        line.pause.longer(now, error.retry_after)
        return False

    def close(self) -> None:
        """Give the file free; what waits stays in it."""
        if self._journal is not None:
            self._journal.close()
            self._journal = None

    def _done(self, outgoing: Outgoing) -> None:
        line = self._lines[outgoing.conversation]
        line.waiting.pop(outgoing.ref, None)
        line.sending = None
        line.pause.over()
        if not line.waiting:
            del self._lines[outgoing.conversation]
        self._write(json.dumps({"done": outgoing.ref}) + "\n")

    def _write(self, text: str) -> None:
        if self._journal is not None:
            self._journal.write(text)
            self._journal.flush()


def _entry(outgoing: Outgoing) -> str:
    return json.dumps(asdict(outgoing), ensure_ascii=False) + "\n"


def _read(path: Path) -> Iterable[Outgoing]:
    waiting: dict[str, Outgoing] = {}
    if not path.exists():
        return []
    for text in path.read_text(encoding="utf-8").splitlines():
        try:
            entry = json.loads(text)
        except ValueError:
            continue  # the last line of a process that was killed while writing it
        if "done" in entry:
            waiting.pop(entry["done"], None)
        else:
            waiting[entry["ref"]] = Outgoing(**entry)
    return list(waiting.values())
