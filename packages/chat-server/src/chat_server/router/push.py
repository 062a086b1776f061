"""Offline push: who is away and has not acknowledged in time is told, at least once, collapsed by conversation.

Fan-out owes a push (`push_due`); an acknowledgement or the read pointer drops it. After the directory has lost its
memory, absence means *unknown* for one lease, and nothing is pushed on it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import structlog
from attrs import define, frozen
from chat_common import wire
from chat_common.clock import Clock
from chat_common.errors import ChatError, Invalid, NotFound
from chat_common.ports.database import Database
from chat_common.ports.directory import Directory
from chat_common.ports.push import PushNote, PushProvider
from chat_common.records import Caller, Command, Task
from chat_common.validation import named
from sqlalchemy import Connection, delete, select

from chat_server.contributions import RoomContributions, every
from chat_server.store import push_due, views
from chat_server.store.executor import CommandExecutor
from chat_server.store.schema import message, push_subscription
from chat_server.store.statements import upsert
from chat_server.store.tx import Tx

log = structlog.get_logger("chat.push")
PAGE = 200
PUSH_EVERY = 1.0
RETRY_MS = 30_000


@define(kw_only=True)
class Subscribe:
    """``address``: what the provider needs to reach this device, for example a Web Push subscription."""

    provider: named(32)  # type: ignore[valid-type]
    address: dict[str, Any]
    device: wire.Id | None = None


@define(kw_only=True)
class Unsubscribe:
    device: wire.Id | None = None


@define(kw_only=True)
class Nothing:
    """An empty answer."""


@frozen
class _Due:
    user: str
    conversation: str
    last_seq: int
    notes: list[tuple[str, PushNote]]


class OfflinePush:
    """The commands ``push.subscribe`` and ``push.unsubscribe``, and the background work that sends what is due."""

    def __init__(
        self,
        database: Database,
        executor: CommandExecutor,
        directory: Directory,
        clock: Clock,
        providers: Mapping[str, PushProvider],
        preview: Callable[[str, Any], str],
        lease: float,
    ) -> None:
        self._database = database
        self._executor = executor
        self._directory = directory
        self._clock = clock
        self._providers = providers
        self._preview = preview
        self._lease = lease

    def contributions(self) -> RoomContributions:
        """Its commands, and the work that sends what is due."""
        return RoomContributions(
            room="router", commands=self.commands(), tasks=[Task("offline-push", every(PUSH_EVERY, self.send_due))]
        )

    def commands(self) -> Sequence[Command]:
        """Only where there is a provider to push with."""

        def subscribe(caller: Caller) -> Any:
            return lambda tx, me, request: self._subscribe(tx, me, caller.device, request)

        async def on(caller: Caller, request: Subscribe) -> Nothing:
            return await self._executor.run(caller, "push.subscribe", request, subscribe(caller), Nothing)

        async def off(caller: Caller, request: Unsubscribe) -> Nothing:
            def end(tx: Tx, me: str, wanted: Unsubscribe) -> Nothing:
                device = wanted.device or caller.device
                tx.connection.execute(
                    delete(push_subscription).where(
                        push_subscription.c.user == me, push_subscription.c.device == (device or "")
                    )
                )
                return Nothing()

            return await self._executor.run(caller, "push.unsubscribe", request, end, Nothing)

        if not self._providers:
            return []
        return [
            Command(
                "push.subscribe", Subscribe, Nothing, on, "keeps", summary="Be told of messages while away.", cost=5
            ),
            Command("push.unsubscribe", Unsubscribe, Nothing, off, "keeps", summary="No longer be told while away."),
        ]

    def _subscribe(self, tx: Tx, me: str, own_device: str | None, request: Subscribe) -> Nothing:
        if request.provider not in self._providers:
            known = ", ".join(sorted(self._providers)) or "none"
            raise Invalid(f"provider: {request.provider!r} is not one of this server's ({known})", field="provider")
        device = request.device or own_device
        if not device:
            raise Invalid("device: Name the device that pushes are for.", field="device")
        address = views.as_json(request.address)
        if len(address) > 4096:
            raise Invalid("address: An address has at most 4096 characters.", field="address", limit=4096)
        values = {"provider": request.provider, "address": address}
        tx.connection.execute(
            upsert(tx.connection, push_subscription)
            .values(user=me, device=device, **values)
            .on_conflict_do_update(index_elements=["user", "device"], set_=values)
        )
        return Nothing()

    async def send_due(self) -> int:
        """Send what is due, a page at a time; how many notes went out."""
        if await self._directory.known_since() < self._lease:
            return 0
        now = self._clock.wall_ms()
        due = await self._database.read(lambda connection: self._due(connection, now))
        sent = 0
        for one in due:
            done = True
            for provider, note in one.notes:
                try:
                    await self._providers[provider].push(note)
                    sent += 1
                except NotFound:
                    await self._database.change(lambda connection: _forget(connection, note))  # noqa: B023
                except ChatError as error:
                    done = False
                    log.warning("push_failed", provider=provider, code=error.code)
                except Exception:
                    done = False
                    log.exception("push_failed", provider=provider)
            again_at = None if done else now + RETRY_MS
            await self._database.change(
                lambda connection: push_due.settle(connection, one.user, one.conversation, one.last_seq, again_at)  # noqa: B023
            )
        return sent

    def _due(self, connection: Connection, now: int) -> list[_Due]:
        rows = push_due.due(connection, now, PAGE)
        found = []
        for row in rows:
            notes: list[tuple[str, PushNote]] = []
            if row.read_seq < row.last_seq and not row.muted and row.to_seq is None:
                notes = self._notes(connection, row)
            found.append(_Due(row.user, row.conversation, row.last_seq, notes))
        return found

    def _notes(self, connection: Connection, row: Any) -> list[tuple[str, PushNote]]:
        said = connection.execute(
            select(message).where(message.c.conversation == row.conversation, message.c.seq == row.last_seq)
        ).one_or_none()
        if said is None or said.recalled is not None:
            return []
        text = self._preview(said.kind, msgspec.json.decode(said.body or "{}"))
        sender = views.users_by_id(connection, [said.sender]).get(said.sender)
        title = row.name or ("" if sender is None else sender.name)
        subscriptions = connection.execute(select(push_subscription).where(push_subscription.c.user == row.user))
        return [
            (
                one.provider,
                PushNote(
                    user=row.user,
                    device=one.device,
                    address=msgspec.json.decode(one.address),
                    conversation=row.conversation,
                    seq=row.last_seq,
                    title=title,
                    text=text,
                    collapse=row.conversation,
                ),
            )
            for one in subscriptions
            if one.provider in self._providers
        ]


class LogPush:
    """The provider ``log``: writes that somebody would be told, never what."""

    async def push(self, note: PushNote) -> None:
        log.info("push", user=note.user, device=note.device, conversation=note.conversation, seq=note.seq)


def _forget(connection: Connection, note: PushNote) -> None:
    """The address is dead."""
    connection.execute(
        delete(push_subscription).where(
            push_subscription.c.user == note.user, push_subscription.c.device == note.device
        )
    )
