"""Offline push: who is away and has not acknowledged in time is told, at least once, collapsed by conversation.

Fan-out owes a push (`push_due`); an acknowledgement or the read pointer drops it. After the directory has lost its
memory, absence means *unknown* for one lease, and nothing is pushed on it.

Of several servers on one database one sends at a time, under a named lease.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import structlog
from attrs import field, frozen
from cachetools import LRUCache
from chat_common.clock import Clock
from chat_common.errors import ChatError
from chat_common.ports.database import Database
from chat_common.ports.directory import Directory
from chat_common.ports.push import Address, Notification, Outcome, PushProvider, Result
from sqlalchemy import Connection, select

from chat_server.contributions import RoomContributions, every
from chat_server.router.addresses import AddressBook
from chat_server.store import push_addresses, push_due, views
from chat_server.store.executor import CommandExecutor
from chat_server.store.leases import Lease, whole
from chat_server.store.push_addresses import PushAddress
from chat_server.store.schema import message

log = structlog.get_logger("chat.push")
PAGE = 200
PUSH_EVERY = 1.0
RETRY_MS = 30_000
PATIENCE = 30.0
"""Seconds that a provider may take for one notification: one that hangs does not keep others from being told."""
LONGEST_WAIT = 3_600.0
KEPT_MS = 86_400_000
"""Milliseconds since a message was sent, after which nobody is told of it any more."""
TOLD = 100_000


@frozen
class _Due:
    user: str
    conversation: str
    last_seq: int
    time: int = 0
    notification: Notification | None = None
    addresses: Mapping[str, Sequence[PushAddress]] = field(factory=dict)
    held: bool = False


class OfflinePush:
    """The background work that sends what is due, and the commands of `AddressBook`. Implements `PushService`."""

    def __init__(
        self,
        database: Database,
        executor: CommandExecutor,
        directory: Directory,
        clock: Clock,
        providers: Mapping[str, PushProvider],
        preview: Callable[[str, Any], str],
        lease: float,
        turn: Lease | None = None,
    ) -> None:
        self._turn = turn or Lease("offline-push")
        self._database = database
        self._book = AddressBook(database, executor, clock, providers)
        self._directory = directory
        self._clock = clock
        self._providers = providers
        self._preview = preview
        self._lease = lease
        # (login, conversation) → (seq, time) of a message. One address that fails makes the whole row due
        # again; those that have been told are not told again each time. Lost with the process: then the platform
        # collapses it.
        self._told: LRUCache[tuple[str, str], tuple[int, int]] = LRUCache(TOLD)
        # An address → the moment of the monotonic clock until which it is left alone; one that was renewed is another.
        self._held: LRUCache[tuple[str, int], float] = LRUCache(TOLD)

    def contributions(self) -> RoomContributions:
        """Its commands, and the work that sends what is due."""
        return RoomContributions(
            room="router",
            commands=self._book.commands(),
            tasks=[self._turn.task(every(PUSH_EVERY, self.send_due))],
        )

    async def acknowledged(self, seqs: Mapping[str, Mapping[str, int]]) -> None:
        """See `chat_server.services.PushService.acknowledged`."""
        if await self._database.read(push_due.anything_owed):
            await self._database.change(lambda connection: push_due.drop_acknowledged(connection, seqs))

    async def send_due(self) -> int:
        """Send what is due, a page at a time, while this server's turn lasts; to how many addresses notifications went
        out."""
        if not self._turn.held or await self._directory.known_since() < self._lease:
            return 0
        now = self._clock.wall_ms()
        due = await self._database.read(lambda connection: self._due(connection, now))
        sent = 0
        for one in due:
            if not self._turn.held:
                break
            # Not torn by a stop: what was sent, and is still owed, would be sent again by the next server.
            sent += await whole(self._tell(one, now))
        return sent

    async def _tell(self, one: _Due, now: int) -> int:
        """Send this one, and write down that it was; to how many addresses. Written even where the lease was lost
        meanwhile: it is true, and whoever has the lease now need not send it."""
        sent, done = 0, not one.held
        for provider, addresses in one.addresses.items():
            assert one.notification is not None
            outcomes = await self._outcomes(provider, one.notification, addresses)
            sent += await self._noted(provider, one, addresses, outcomes)
            done = done and not any(outcome.result is Result.LATER for outcome in outcomes)
        # A platform's own Retry-After holds its address alone: the row is looked at again for the others.
        again_at = None if done else now + RETRY_MS
        await self._database.change(
            lambda connection: push_due.settle(connection, one.user, one.conversation, one.last_seq, again_at)
        )
        return sent

    async def _outcomes(
        self, provider: str, notification: Notification, known: Sequence[PushAddress]
    ) -> Sequence[Outcome]:
        """What the provider says; a provider that raises, or answers for fewer, is asked again later."""
        try:
            addresses = [Address(each.device, msgspec.json.decode(each.address)) for each in known]
            async with asyncio.timeout(PATIENCE):
                outcomes = await self._providers[provider].send(notification, addresses)
            if len(outcomes) == len(addresses):
                return outcomes
            log.error("push_failed", provider=provider, reason="The provider did not answer for each address.")
        except TimeoutError:
            log.warning("push_failed", provider=provider, reason="The provider did not answer in time.")
        except ChatError as error:
            log.warning("push_failed", provider=provider, code=error.code)
        except Exception:
            log.exception("push_failed", provider=provider)
        return [Outcome(Result.LATER)] * len(known)

    async def _noted(
        self, provider: str, due: _Due, addresses: Sequence[PushAddress], outcomes: Sequence[Outcome]
    ) -> int:
        """Forget dead addresses, remember who was told and who is to be left alone for a while; how many were told."""
        told = 0
        for address, outcome in zip(addresses, outcomes, strict=True):
            if outcome.result is Result.GONE:
                await self._database.change(lambda connection: push_addresses.drop_dead(connection, address))  # noqa: B023
            elif outcome.result is Result.DELIVERED:
                told += 1
                self._told[(address.login, due.conversation)] = (due.last_seq, due.time)
            else:
                if outcome.result is Result.LATER:
                    until = self._clock.monotonic() + _wait(outcome.retry_after)
                    self._held[address.key] = until
                log.warning("push_not_taken", provider=provider, result=outcome.result.value, reason=outcome.reason)
        return told

    def _due(self, connection: Connection, now: int) -> list[_Due]:
        found = []
        for row in push_due.due(connection, now, PAGE):
            one = _Due(row.user, row.conversation, row.last_seq)
            if row.read_seq < row.last_seq and not row.muted and row.to_seq is None:
                one = self._filled(connection, row, now)
            found.append(one)
        return found

    def _filled(self, connection: Connection, row: Any, now: int) -> _Due:
        nobody = _Due(row.user, row.conversation, row.last_seq)
        said = connection.execute(
            select(message).where(message.c.conversation == row.conversation, message.c.seq == row.last_seq)
        ).one_or_none()
        # After a platform's long outage nobody is flooded with what is no news any more.
        if said is None or said.recalled is not None or now - said.time > KEPT_MS:
            return nobody
        sender = views.users_by_id(connection, [said.sender]).get(said.sender)
        notification = Notification(
            user=row.user,
            conversation=row.conversation,
            seq=row.last_seq,
            title=row.name or ("" if sender is None else sender.name),
            text=self._preview(said.kind, msgspec.json.decode(said.body or "{}")),
            collapse=row.conversation,
            ttl=max(1, (said.time + KEPT_MS - now) // 1000),
        )
        addresses: dict[str, list[PushAddress]] = {}
        held = False
        for one in push_addresses.of(connection, row.user, now):
            told = self._told.get((one.login, row.conversation))
            if one.provider not in self._providers or told == (row.last_seq, said.time):
                continue
            if self._held.get(one.key, 0.0) > self._clock.monotonic():
                held = True
            else:
                addresses.setdefault(one.provider, []).append(one)
        return _Due(row.user, row.conversation, row.last_seq, said.time, notification, addresses, held)


class LogPush(PushProvider):
    """The provider ``log``: writes that somebody would be told, never what."""

    async def send(self, notification: Notification, addresses: Sequence[Address]) -> Sequence[Outcome]:
        """See `PushProvider.send`."""
        for address in addresses:
            log.info(
                "push",
                user=notification.user,
                device=address.device,
                conversation=notification.conversation,
                seq=notification.seq,
            )
        return [Outcome(Result.DELIVERED)] * len(addresses)


def _wait(retry_after: float | None) -> float:
    """Seconds to leave an address alone: the platform's word, but a clock of its that is wrong silences nobody."""
    return 0.0 if retry_after is None else min(max(retry_after, 0.0), LONGEST_WAIT)
