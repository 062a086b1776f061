"""What this process remembers of push addresses: who was told of what, and who is to be left alone for how long.

Lost with the process: what was told is then told again, and the platform collapses it.
"""

from __future__ import annotations

from attrs import frozen
from cachetools import LRUCache
from chat_common.backoff import pause
from chat_common.clock import Clock
from chat_common.ports.push import Outcome, Result

from chat_server.store.push_addresses import PushAddress

REMEMBERED = 100_000
FIRST_WAIT, LONGEST_WAIT = 30.0, 3_600.0
"""Seconds: doubling from the first with each failure. A platform's own word counts before that, but a clock of its that
is wrong silences nobody for longer than the longest."""


@frozen
class _Held:
    until: float
    failures: int


class Attempts:
    """An address that was renewed is another one, of which nothing is remembered."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        # (login, conversation) → (seq, time) of a message. One address that fails makes the whole row due again;
        # those that have been told are not told again each time.
        self._told: LRUCache[tuple[str, str], tuple[int, int]] = LRUCache(REMEMBERED)
        self._held: LRUCache[tuple[str, int], _Held] = LRUCache(REMEMBERED)

    def was_told(self, address: PushAddress, conversation: str, seq: int, time: int) -> bool:
        """Whether this address has been told of that message; ``time``: when it was sent, for a conversation may begin
        anew."""
        return self._told.get((address.login, conversation)) == (seq, time)

    def told(self, address: PushAddress, conversation: str, seq: int, time: int) -> None:
        """The platform has taken it."""
        self._told[(address.login, conversation)] = (seq, time)
        self._held.pop(address.key, None)

    def wait(self, address: PushAddress) -> float:
        """Seconds for which it is still to be left alone."""
        held = self._held.get(address.key)
        return 0.0 if held is None else max(0.0, held.until - self._clock.monotonic())

    def later(self, address: PushAddress, outcome: Outcome) -> None:
        """It is to be tried again: when the platform says, or at growing intervals where it does not."""
        assert outcome.result is Result.LATER
        known = self._held.get(address.key)
        failures = 1 if known is None else known.failures + 1
        said = outcome.retry_after
        wait = pause(failures, FIRST_WAIT, LONGEST_WAIT) if said is None else min(max(said, 0.0), LONGEST_WAIT)
        self._held[address.key] = _Held(self._clock.monotonic() + wait, failures)
