"""The files of words, read at start and again whenever one has changed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import structlog
from attrs import define, field
from chat_common.settings import SetupError

from chat_server.moderation.matcher import Matcher, WrongEntry
from chat_server.moderation.settings import WordSettings

log = structlog.get_logger("chat.words")
MOST_BYTES = 16 * 1024 * 1024
Action = Literal["refuse", "mask", "report"]
State = tuple[int, int, int]
"""What tells one content of a file from the next: inode, size, time of change in ns."""


class WrongList(Exception):
    """A file that cannot be read as a list. The message names it, and the line."""


@define
class WordList:
    """``state``: of the content that the matcher was made of; ``seen``: of the content last looked at."""

    path: Path
    action: Action
    matcher: Matcher
    state: State
    seen: State | None = field(default=None)

    @property
    def name(self) -> str:
        """What reports call it."""
        return self.path.stem


class Lists:
    """All lists of a server. `SetupError` for a file that cannot be read at start; one that is broken later is logged,
    and what was read before stays in force."""

    def __init__(self, settings: WordSettings) -> None:
        self._lists: list[WordList] = []
        actions: tuple[tuple[Action, list[str]], ...] = (
            ("refuse", settings.refuse),
            ("mask", settings.mask),
            ("report", settings.report),
        )
        for action, paths in actions:
            for each in paths:
                try:
                    state, matcher = _load(Path(each))
                except WrongList as error:
                    raise SetupError(f"[words] {action}: {error}") from error
                self._lists.append(WordList(Path(each), action, matcher, state, state))

    def of(self, action: Action) -> Sequence[WordList]:
        """The lists with this action, in the order of the settings."""
        return [each for each in self._lists if each.action == action]

    async def refresh(self) -> Sequence[str]:
        """Read what has changed; the paths of the lists that were replaced. Each is replaced as a whole."""
        replaced = []
        for each in self._lists:
            try:
                state = await asyncio.to_thread(_state, each.path)
                if state == each.seen:
                    continue
                each.seen = state
                each.state, each.matcher = await asyncio.to_thread(_load, each.path)
            except WrongList as error:
                log.warning("word_list_not_read", path=str(each.path), reason=str(error))
                continue
            # Taken before the reading, so that a change meanwhile is seen as one.
            each.seen = each.state
            replaced.append(str(each.path))
            log.info("word_list_read", path=str(each.path), entries=len(each.matcher))
        return replaced


def _state(path: Path) -> State | None:
    """None: it is not there."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def _load(path: Path) -> tuple[State, Matcher]:
    try:
        with path.open("rb") as file:
            state = _state(path)
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise WrongList(f"{path} cannot be read: {error.strerror}") from error
    if state is None:
        raise WrongList(f"{path} cannot be read: it is not there any more")
    if len(content) > MOST_BYTES:
        raise WrongList(f"{path} is larger than {MOST_BYTES // 1024**2} MiB")
    try:
        lines = content.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise WrongList(f"{path} is not UTF-8: byte {error.start}") from error
    entries = []
    for number, line in enumerate(lines, 1):
        entry = line.strip()
        if not entry or entry.startswith("#"):
            continue
        try:
            Matcher.check(entry)
        except WrongEntry as error:
            raise WrongList(f"{path}, line {number}: {error}") from error
        entries.append(entry)
    return state, Matcher(entries)
