"""What is due to be sent, read from the store: who is told what, and where."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import msgspec
from attrs import field, frozen
from chat_common.clock import Clock
from chat_common.ports.push import Notification
from sqlalchemy import Connection, select

from chat_server.router.attempts import Attempts
from chat_server.router.settings import PushSettings
from chat_server.store import push_addresses, push_due, views
from chat_server.store.push_addresses import PushAddress
from chat_server.store.schema import message

PAGE = 200
SUMMARY = "summary"
"""The collapse key of a summary."""


@frozen
class Covered:
    """A row that is settled when this was sent: its conversation, up to which message, and when that was sent (ms)."""

    conversation: str
    last_seq: int
    time: int = 0


@frozen
class Due:
    """One notification for one user, or none: then its rows are settled and nothing is sent. ``wait``: seconds until
    the first of the addresses may be tried that are left alone now; None: there is none."""

    user: str
    rows: Sequence[Covered]
    notification: Notification | None = None
    addresses: Mapping[str, Sequence[PushAddress]] = field(factory=dict)
    wait: float | None = None

    @property
    def said_at(self) -> int:
        """When the newest message of it was sent (ms)."""
        return max((row.time for row in self.rows), default=0)


@frozen
class DueReader:
    """Reads for the providers of these names."""

    providers: Collection[str]
    attempts: Attempts
    clock: Clock
    settings: PushSettings
    preview: Callable[[str, Any], str]

    def read(
        self, connection: Connection, now: int, running: Collection[tuple[str, str]], most: int
    ) -> tuple[list[Due], bool]:
        """What is due at ``now`` (ms) and not under way, the oldest first, at most so many rows; and whether there may
        be more behind it."""
        limit = min(PAGE, most) + len(running)
        rows = push_due.due(connection, now, limit)
        more = len(rows) == limit
        found: list[Due] = []
        late: dict[str, list[tuple[Any, Any]]] = {}
        for row in rows:
            if (row.user, row.conversation) in running:
                continue
            said = self._said(connection, row, now)
            if said is None:
                found.append(Due(row.user, [Covered(row.conversation, row.last_seq)]))
            elif now - said.time >= self.settings.late_after * 1000:
                late.setdefault(row.user, []).append((row, said))
            else:
                found.append(self._due(connection, [(row, said)], now))
        return found + [self._due(connection, rows, now) for rows in late.values()], more

    def _said(self, connection: Connection, row: Any, now: int) -> Any:
        """The message; None where it is no news any more."""
        if row.read_seq >= row.last_seq or row.muted or row.to_seq is not None:
            return None
        said = connection.execute(
            select(message).where(message.c.conversation == row.conversation, message.c.seq == row.last_seq)
        ).one_or_none()
        if said is None or said.recalled is not None or now - said.time >= self.settings.max_age * 1000:
            return None
        return said

    def _due(self, connection: Connection, rows: Sequence[tuple[Any, Any]], now: int) -> Due:
        """One notification of these messages: of the newest, and how many other conversations there are."""
        user = rows[0][0].user
        covered = [Covered(row.conversation, row.last_seq, said.time) for row, said in rows]
        row, said = max(rows, key=lambda each: int(each[1].time))
        sender = views.users_by_id(connection, [said.sender]).get(said.sender)
        others = f" (+{len(rows) - 1})" if len(rows) > 1 else ""
        notification = Notification(
            user=user,
            conversation=row.conversation,
            seq=row.last_seq,
            title=row.name or ("" if sender is None else sender.name),
            text=self.preview(said.kind, msgspec.json.decode(said.body or "{}")) + others,
            collapse=row.conversation if len(rows) == 1 else SUMMARY,
            ttl=max(1, round(self.settings.max_age - (now - said.time) / 1000)),
        )
        addresses: dict[str, list[PushAddress]] = {}
        waits: list[float] = []
        for one in push_addresses.of(connection, user, now):
            told = all(self.attempts.was_told(one, it.conversation, it.last_seq, it.time) for it in covered)
            if one.provider not in self.providers or told:
                continue
            if wait := self.attempts.wait(one):
                waits.append(wait)
            else:
                addresses.setdefault(one.provider, []).append(one)
        return Due(user, covered, notification, addresses, min(waits, default=None))
