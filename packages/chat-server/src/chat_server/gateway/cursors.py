"""How far each conversation has been delivered on this node, so that what comes twice is dropped."""

from __future__ import annotations


class Cursors:
    """Conversation → newest rev; of more than ``most`` the one that was moved longest ago is forgotten."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._revs: dict[str, int] = {}

    def rev(self, conversation: str) -> int:
        """0 when nothing came lately."""
        return self._revs.get(conversation, 0)

    def move(self, conversation: str, rev: int) -> None:
        """Forward only."""
        revs = self._revs
        revs[conversation] = max(rev, revs.pop(conversation, 0))
        if len(revs) > self._most:
            del revs[next(iter(revs))]
