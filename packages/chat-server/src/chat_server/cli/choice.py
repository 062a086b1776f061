"""Which configuration a command means."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from attrs import field, frozen


@frozen
class Choice:
    """Which configuration is meant. What the command line says wins over the environment."""

    config: Path | None = None
    data: str | None = None
    host: str | None = None
    port: int | None = None
    more: Mapping[str, str] = field(factory=dict)

    @property
    def environ(self) -> dict[str, str]:
        """The process's environment with the command line on top of it."""
        said = {"DATA": self.data, "HOST": self.host, "PORT": None if self.port is None else str(self.port)}
        return {
            **os.environ,
            **{f"CHAT__SERVER__{key}": value for key, value in said.items() if value is not None},
            **self.more,
        }
