"""How many logins of one user live at a time: a pure decision over those that he has.

Each cell of the table in the docs (logins.md) is a case of the tests.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from attrs import frozen

from chat_server.auth.settings import AuthSettings

Class = Literal["mobile", "desktop", "web", "other"]
CLASSES: dict[str, Class] = {
    "ios": "mobile",
    "android": "mobile",
    "desktop": "desktop",
    "windows": "desktop",
    "macos": "desktop",
    "linux": "desktop",
    "web": "web",
}


def class_of(platform: str | None) -> Class:
    """Return the class of a platform as a client names it; unknown and unnamed ones are ``other``."""
    return CLASSES.get((platform or "").casefold(), "other")


@frozen
class Held:
    """A login that lives. ``present``: its device is online, or so young that its hello is on its way."""

    login: str
    device: str | None
    platform: str | None
    name: str | None
    seen_at: int
    present: bool


@frozen
class Newcomer:
    """The device that logs in. ``replace``: the device or login that the person wants to give up for it."""

    device: str | None = None
    platform: str | None = None
    name: str | None = None
    address: str | None = None
    replace: str | None = None


@frozen
class Decision:
    """``end``: logins that end; ``blocking``: those that keep the newcomer out. At most one of the two is filled."""

    end: Sequence[str] = ()
    blocking: Sequence[Held] = ()


@frozen
class Policy:
    """``auth.sessions`` × ``auth.on_conflict``, with ``auth.devices_max``."""

    sessions: Literal["one", "one_per_platform", "per_device"]
    refuses: bool
    devices_max: int

    @classmethod
    def of(cls, settings: AuthSettings) -> Policy:
        """Return the policy that the settings describe."""
        return cls(settings.sessions, settings.on_conflict == "refuse", settings.devices_max)

    @property
    def asks_who_is_present(self) -> bool:
        """Whether `decide` looks at `Held.present`."""
        return self.refuses and self.sessions != "per_device"

    def decide(self, newcomer: Newcomer, held: Sequence[Held]) -> Decision:
        """Decide which logins end when this device logs in, or which keep it out. ``held``: without its own login."""
        given_up = [
            each
            for each in held
            if (newcomer.device is not None and each.device == newcomer.device)
            or (newcomer.replace is not None and newcomer.replace in (each.device, each.login))
        ]
        others = [each for each in held if each not in given_up]
        rivals = self._rivals(newcomer, others)
        if self.refuses:
            blocking = [each for each in rivals if each.present] if self.asks_who_is_present else rivals and others
            if blocking:
                return Decision(blocking=blocking)
        return Decision(end=[each.login for each in (*given_up, *rivals)])

    def _rivals(self, newcomer: Newcomer, others: Sequence[Held]) -> Sequence[Held]:
        if self.sessions == "one":
            return others
        if self.sessions == "one_per_platform":
            mine = class_of(newcomer.platform)
            return [each for each in others if class_of(each.platform) == mine]
        over = len(others) + 1 - self.devices_max if self.devices_max else 0
        return sorted(others, key=lambda each: (each.seen_at, each.login))[: max(0, over)]
