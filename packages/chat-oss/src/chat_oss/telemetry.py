"""Telemetry for an application that keeps no numbers."""

from __future__ import annotations

from typing import Literal


class Silent:
    """`chat_common.ports.objects.ObjectTelemetry` that forgets."""

    def operation(self, name: str, outcome: str, seconds: float) -> None:
        pass

    def moved(self, direction: Literal["in", "out"], size: int) -> None:
        pass

    def dead(self, dead: bool) -> None:
        pass

    def upload(self, outcome: str) -> None:
        pass

    def picture(self, seconds: float) -> None:
        pass

    def room(self, kept: int, free: int | None) -> None:
        pass
