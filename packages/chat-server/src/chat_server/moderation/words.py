"""Sensitive words, looked for in all that people say to others: one interceptor at the point ``submit``.

Messages with their captions, edits, names, announcements, contact texts, reactions and names of files come by it.
``refuse`` and ``mask`` act before anything is stored. ``report`` acts after: stored messages are looked through by a
consumer of the topic ``stored``, so that no message is missed; other texts by a task, which may lose what is said in
the last moment before a crash.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec
from attrs import evolve, frozen
from chat_common.errors import NotPermitted
from chat_common.ports.broker import BrokerRecord
from chat_common.records import Caller, Consumer, Context, Interceptor, Task
from chat_common.wire import SubmitMessage
from sqlalchemy import Connection, select

from chat_server.contributions import RoomContributions, every
from chat_server.moderation.folding import fold
from chat_server.moderation.lists import Lists
from chat_server.moderation.settings import WordSettings
from chat_server.refusals import Refusals
from chat_server.store.executor import CommandExecutor
from chat_server.store.reports import WORDS, file_report
from chat_server.store.schema import message
from chat_server.store.topics import STORED, Stored
from chat_server.store.tx import Tx

ORDER = 9_000
"""Behind the plugins', so that what those put into a text is looked at as well."""
NOT_WORDS = frozenset({"file", "poster", "user", "type", "format", "entities"})
"""Keys of a body that hold ids and ranges."""
WHOLE = frozenset({"user.name", "user.handle", "message.react"})
"""Targets of which nothing can be masked: the rest would be no name, and no emoji. They are refused."""
MOST_WAITING = 1_000
PAGE = 200


@frozen
class _Found:
    """Something that a list of the action ``report`` has found."""

    about: str
    conversation: str
    seq: int
    reason: str
    changed_at: int


class Words:
    """The lists at work."""

    def __init__(self, settings: WordSettings, refusals: Refusals) -> None:
        self._settings, self._refusals = settings, refusals
        self.lists = Lists(settings)
        self._waiting: deque[_Found] = deque(maxlen=MOST_WAITING)
        self._wake = asyncio.Event()

    def interceptors(self) -> Sequence[Interceptor]:
        """What stands in the pipeline, where there are lists."""
        if not any(self.lists.of(action) for action in ("refuse", "mask", "report")):
            return []
        return [Interceptor("words", "submit", self.screen, order=ORDER)]

    def contributions(self, executor: CommandExecutor) -> RoomContributions:
        """The look for changed files, and what reports."""
        if not self.interceptors():
            return RoomContributions(room="words")
        tasks = [Task("words-reload", every(self._settings.reload, self.lists.refresh))]
        if not self.lists.of("report"):
            return RoomContributions(room="words", tasks=tasks)

        async def stored(records: Sequence[BrokerRecord]) -> None:
            await self._look_through(executor, [msgspec.json.decode(each.payload, type=Stored) for each in records])

        async def report(_context: Context) -> None:
            while True:
                await self._wake.wait()
                self._wake.clear()
                await self.report_waiting(executor)

        return RoomContributions(
            room="words",
            consumers=[Consumer(STORED, "words", stored, batch=PAGE)],
            tasks=[*tasks, Task("words-reports", report)],
        )

    # --- before it is stored ------------------------------------------------------------------------------------------

    def screen(self, caller: Caller, said: SubmitMessage) -> SubmitMessage:
        """What goes on of it; `NotPermitted` for what is refused. Ranges in a text stay right: its length stays."""
        refusing = [*self.lists.of("refuse"), *(self.lists.of("mask") if said.target in WHOLE else ())]
        masking = self.lists.of("mask")
        for text in _texts(said.body):
            folded = fold(text)
            if any(each.matcher.finds(folded) for each in refusing):
                self._refusals.note("words", target=said.target)
                raise NotPermitted("This holds words that are not allowed here.", field=_field(said.target))
        if masking:
            said = evolve(said, body=_changed(said.body, self._masked))
        if said.target not in ("submit", "message.edit") and caller.user is not None:
            self._note(caller.user, said)
        return said

    def _masked(self, text: str) -> str:
        folded = fold(text)
        spans = [span for each in self.lists.of("mask") for span in each.matcher.spans(folded)]
        if not spans:
            return text
        characters = list(text)
        for first, last in spans:
            for place in range(first, last):
                if not characters[place].isspace():
                    characters[place] = self._settings.mask_with
        return "".join(characters)

    # --- after --------------------------------------------------------------------------------------------------------

    def _note(self, who: str, said: SubmitMessage) -> None:
        name = self._reporting(said.body)
        if name is not None:
            # Later than any closing of an earlier report: what a name is like now has to be looked at again.
            self._waiting.append(_Found(who, said.conversation, 0, f"{said.target}: list {name}", -1))
            self._wake.set()

    def _reporting(self, body: Any) -> str | None:
        """The list that found something in this body."""
        lists = self.lists.of("report")
        for text in _texts(body):
            folded = fold(text)
            for each in lists:
                if each.matcher.finds(folded):
                    return each.name
        return None

    async def report_waiting(self, executor: CommandExecutor) -> None:
        """Write down what was found in names and such."""
        while self._waiting:
            found = list(self._waiting)
            self._waiting.clear()
            try:
                await executor.apply(lambda tx: _file(tx, found))  # noqa: B023 - awaited within the turn
            except BaseException:
                self._waiting.extendleft(reversed(found))
                raise

    async def _look_through(self, executor: CommandExecutor, ranges: Sequence[Stored]) -> None:
        found = await executor.database.read(lambda connection: list(self._found(connection, ranges)))
        if found:
            await executor.apply(lambda tx: _file(tx, found))

    def _found(self, connection: Connection, ranges: Sequence[Stored]) -> Iterator[_Found]:
        for each in ranges:
            rows = connection.execute(
                select(message).where(
                    message.c.conversation == each.conversation,
                    message.c.rev.between(each.first, each.last),
                    message.c.kind != "system",
                    message.c.recalled.is_(None),
                )
            )
            for row in rows:
                name = self._reporting(msgspec.json.decode(row.body or "null"))
                if name is not None:
                    yield _Found(row.sender, row.conversation, row.seq, f"list {name}", row.edited_at or 0)


def _file(tx: Tx, found: Sequence[_Found]) -> None:
    for each in found:
        file_report(
            tx,
            reporter=WORDS,
            about=each.about,
            conversation=each.conversation,
            seq=each.seq,
            category="words",
            reason=each.reason,
            changed_at=tx.now + 1 if each.changed_at < 0 else each.changed_at,
        )


def _field(target: str) -> str:
    """The parameter that the client knows it by."""
    return {"submit": "body", "message.edit": "body", "message.react": "emoji"}.get(target, target.rpartition(".")[2])


def _texts(value: Any) -> Iterator[str]:
    """All texts of a body that people read."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, each in value.items():
            if key not in NOT_WORDS:
                yield from _texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each)


def _changed(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {key: each if key in NOT_WORDS else _changed(each, change) for key, each in value.items()}
    return [_changed(each, change) for each in value] if isinstance(value, list) else value
