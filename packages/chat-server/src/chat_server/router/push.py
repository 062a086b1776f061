"""Offline push: who is away and has not acknowledged in time is told, at least once, collapsed by conversation.

Fan-out owes a push (`push_due`); an acknowledgement or the read pointer drops it. After the directory has lost its
memory, absence means *unknown* for one lease, and nothing is pushed on it.

Of several servers on one database one sends at a time, under a named lease. What is due is sent side by side: a
provider that hangs keeps its own rows waiting, and no other's.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import structlog
from attrs import frozen
from chat_common.clock import Clock
from chat_common.errors import ChatError
from chat_common.ports.database import Database
from chat_common.ports.directory import Directory
from chat_common.ports.push import Address, Notification, Outcome, PushProvider, Result
from chat_common.records import Context

from chat_server.contributions import RoomContributions
from chat_server.router.addresses import AddressBook
from chat_server.router.attempts import Attempts
from chat_server.router.due import Due, DueReader
from chat_server.router.push_numbers import PushNumbers
from chat_server.router.settings import PushSettings
from chat_server.store import push_addresses, push_due
from chat_server.store.executor import CommandExecutor
from chat_server.store.leases import LAST_STEP, Lease
from chat_server.store.push_addresses import PushAddress

log = structlog.get_logger("chat.push")
PUSH_EVERY = 1.0
POSTPONED = 5.0
"""Seconds after which a row is looked at again whose provider has no room, so that others' rows are seen behind it."""


@frozen(kw_only=True)
class PushPorts:
    """What offline push stands on. ``preview``: a message's kind and body as one line."""

    database: Database
    executor: CommandExecutor
    directory: Directory
    clock: Clock
    providers: Mapping[str, PushProvider]
    preview: Callable[[str, Any], str]


class OfflinePush:
    """The background work that sends what is due, and the commands of `AddressBook`. Implements `PushService`.

    ``lease``: seconds that a session's route lasts.
    """

    def __init__(self, ports: PushPorts, settings: PushSettings, lease: float, turn: Lease | None = None) -> None:
        self._turn = turn or Lease("offline-push")
        self._ports, self._settings, self._lease = ports, settings, lease
        self._database, self._clock, self._providers = ports.database, ports.clock, ports.providers
        self._book = AddressBook(ports.database, ports.executor, ports.clock, ports.providers)
        self._attempts = Attempts(ports.clock)
        self._reader = DueReader(ports.providers.keys(), self._attempts, ports.clock, settings, ports.preview)
        self._running: dict[tuple[str, str], asyncio.Task[int]] = {}
        self._busy: Counter[str] = Counter()
        self._freed = asyncio.Event()
        self.numbers = PushNumbers(settings.late_after)

    def contributions(self) -> RoomContributions:
        """Its commands, and the work that sends what is due."""
        return RoomContributions(room="router", commands=self._book.commands(), tasks=[self._turn.task(self._run)])

    async def acknowledged(self, seqs: Mapping[str, Mapping[str, int]]) -> None:
        """See `chat_server.services.PushService.acknowledged`."""
        if await self._database.read(push_due.anything_owed):
            await self._database.change(lambda connection: push_due.drop_acknowledged(connection, seqs))

    async def send_due(self) -> int:
        """Send what is due and can be sent now, while this server's turn lasts; to how many addresses notifications
        went out."""
        tasks, _ = await self._start()
        return sum(await asyncio.gather(*tasks))

    async def _run(self, _context: Context) -> None:
        try:
            while True:
                self._freed.clear()
                _, more = await self._start()
                if not more:
                    await asyncio.sleep(PUSH_EVERY)
                    continue
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(PUSH_EVERY):
                        await self._freed.wait()
        finally:
            # Not torn by a stop: what was sent, and is still owed, would be sent again by the next server.
            if tasks := list(self._running.values()):
                _, torn = await asyncio.wait(tasks, timeout=LAST_STEP)
                for task in torn:
                    task.cancel()
                await asyncio.gather(*torn, return_exceptions=True)

    async def _start(self) -> tuple[Sequence[asyncio.Task[int]], bool]:
        """Begin to send what is due, as far as its providers have room; and whether something waits for room."""
        if not self._turn.held or await self._ports.directory.known_since() < self._lease:
            return [], False
        # No more is read than may begin: a long queue is not read again and again.
        room = max((self._settings.in_flight - self._busy[name] for name in self._providers), default=1)
        if room <= 0:
            return [], True
        now = self._clock.wall_ms()
        running = set(self._running)
        found, more = await self._database.read(lambda connection: self._reader.read(connection, now, running, room))
        started: list[asyncio.Task[int]] = []
        waiting: list[Due] = []
        for due in found:
            full = [name for name in due.addresses if self._busy[name] >= self._settings.in_flight]
            if full and len(full) == len(due.addresses):
                waiting.append(due)
                continue
            started.append(self._begin(due, full))
        if more and waiting and any(self._busy[name] < self._settings.in_flight for name in self._providers):
            await self._postpone(waiting, now)
        return started, more or bool(waiting)

    def _begin(self, due: Due, full: Sequence[str]) -> asyncio.Task[int]:
        keys = [(due.user, row.conversation) for row in due.rows]
        sending = {name: addresses for name, addresses in due.addresses.items() if name not in full}
        for name, addresses in sending.items():
            self._busy[name] += len(addresses)
        task = asyncio.create_task(self._tell(due, sending, POSTPONED if full else None))

        def ended(task: asyncio.Task[int]) -> None:
            if not task.cancelled() and (error := task.exception()) is not None:
                log.error("push_not_settled", reason=type(error).__name__)  # it is still owed, and due again
            for key in keys:
                self._running.pop(key, None)
            for name, addresses in sending.items():
                self._busy[name] -= len(addresses)
                if self._busy[name] * 2 <= self._settings.in_flight:
                    self._freed.set()

        self._running.update(dict.fromkeys(keys, task))
        task.add_done_callback(ended)
        return task

    async def _postpone(self, waiting: Sequence[Due], now: int) -> None:
        again_at = now + round(POSTPONED * 1000)
        rows = [(due.user, row.conversation, row.last_seq, again_at) for due in waiting for row in due.rows]
        await self._database.change(lambda connection: push_due.settle_all(connection, rows))

    async def _tell(self, due: Due, sending: Mapping[str, Sequence[PushAddress]], wait: float | None) -> int:
        """Send this one, and write down that it was; to how many addresses. Written even where the lease was lost
        meanwhile: it is true, and whoever has the lease now need not send it. ``wait``: seconds after which it is due
        again in any case."""
        if not self._turn.held:
            return 0
        sent = 0
        waits = [] if wait is None else [wait]
        waits += [] if due.wait is None else [due.wait]
        notification = due.notification
        if notification is not None and sending:
            asked = [self._outcomes(name, notification, addresses) for name, addresses in sending.items()]
            # One is asked in this step, so that who begins after it sees whether the turn is lost.
            answers = [await asked[0]] if len(asked) == 1 else await asyncio.gather(*asked)
            for name, outcomes in zip(sending, answers, strict=True):
                sent += await self._noted(name, due, sending[name], outcomes)
                waits += [
                    self._attempts.wait(address)
                    for address, outcome in zip(sending[name], outcomes, strict=True)
                    if outcome.result is Result.LATER
                ]
        # An address that is left alone holds nobody else: the row is looked at again when the first may be tried.
        again_at = self._clock.wall_ms() + max(1_000, round(min(waits) * 1000)) if waits else None
        rows = [(due.user, row.conversation, row.last_seq, again_at) for row in due.rows]
        await self._database.change(lambda connection: push_due.settle_all(connection, rows))
        return sent

    async def _outcomes(
        self, provider: str, notification: Notification, known: Sequence[PushAddress]
    ) -> Sequence[Outcome]:
        """What the provider says; a provider that raises, or answers for fewer, is asked again later."""
        try:
            addresses = [Address(each.device, msgspec.json.decode(each.address)) for each in known]
            async with asyncio.timeout(self._settings.timeout):
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
        self, provider: str, due: Due, addresses: Sequence[PushAddress], outcomes: Sequence[Outcome]
    ) -> int:
        """Forget dead addresses, remember who was told and who is to be left alone for a while; how many were told."""
        told = 0
        dead = [it for it, outcome in zip(addresses, outcomes, strict=True) if outcome.result is Result.GONE]
        if dead:
            await self._database.change(lambda connection: push_addresses.drop_dead(connection, dead))
        age = (self._clock.wall_ms() - due.said_at) / 1000
        for address, outcome in zip(addresses, outcomes, strict=True):
            self.numbers.note(provider, outcome.result, age)
            if outcome.result is Result.DELIVERED:
                told += 1
                for row in due.rows:
                    self._attempts.told(address, row.conversation, row.last_seq, row.time)
            elif outcome.result is not Result.GONE:
                if outcome.result is Result.LATER:
                    self._attempts.later(address, outcome)
                log.warning("push_not_taken", provider=provider, result=outcome.result.value, reason=outcome.reason)
        return told


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
