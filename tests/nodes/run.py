"""The kill run over several nodes: any of them is killed, people come back at any other, one ledger for all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.faults.run import HEARTBEAT, KillRun, Plan
from tests.nodes.processes import ProcessNodes, merged
from tests.nodes.timed import TimedLedger, summary


class NodesRun(KillRun):
    """``settings``: what the nodes share; ``names``: theirs."""

    def __init__(
        self, plan: Plan, folder: Path, settings: Mapping[str, Any], names: Sequence[str] = ("a", "b", "c")
    ) -> None:
        self.names = names
        gateway = {"heartbeat": HEARTBEAT, "resume_for": 30.0}
        self.shared = merged(settings, {"gateway": gateway, "fanout": {"hot_members": plan.hot_members}})
        self.timed = TimedLedger()
        super().__init__(plan, folder, ledger=self.timed)

    def _server(self, folder: Path) -> ProcessNodes:
        return ProcessNodes(folder, self.names, self.shared, self.dice, late=self.plan.late)

    def waits(self) -> str:
        """How long messages took where nobody came or went: in direct chats."""
        quiet = {place.conversation for place in self.places if not place.group}
        return summary([wait for name, waits in self.timed.waits.items() if name in quiet for wait in waits])
