"""Who may do what with a conversation: the table that `test_rights_table` tries cell by cell, and its page in the docs.

``python -m tests.chat_server.rights_table`` writes the page.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import field, frozen

PAGE = Path(__file__).parent.parent.parent / "docs" / "rights.md"
RELATIONS = ("owner", "admin", "member", "muted", "banned", "left", "kicked", "pending", "stranger", "guest", "blocked")
CODES = {
    "+": "ok",
    "P": "not_permitted",
    "M": "not_a_member",
    "F": "not_found",
    "A": "not_authenticated",
    "C": "conflict",
    "-": "",
}


@frozen
class Action:
    """``cells``: one letter of `CODES` for each of `RELATIONS`, in their order; ``-``: there is no such case.

    ``params`` may name OWN (a message of the caller's), OTHER (one of the owner's), DAN (a user outside) and CAT (a
    plain member). ``command``: of the server, or ``upload`` and ``typing``, which ask the same rights.
    """

    title: str
    command: str
    cells: str
    params: Mapping[str, Any] = field(factory=dict)

    def code(self, relation: str) -> str:
        return CODES[self.cells[RELATIONS.index(relation)]]


TEXT = {"kind": "text", "body": {"text": "x"}}
ACTIONS = (
    Action("send a message", "submit", "+++PPMMFFAP", TEXT),
    Action("edit an own message", "message.edit", "+++PPMMFFAP", {"seq": "OWN", "body": {"text": "y"}}),
    Action("recall an own message", "message.recall", "+++++MMFFA+", {"seq": "OWN"}),
    Action("recall another's message", "message.recall", "PPPPPMMFFAP", {"seq": "OTHER"}),
    Action("react to a message", "message.react", "+++PPMMFFAP", {"seq": "OTHER", "emoji": "👍", "on": True}),
    Action("send a file", "upload", "+++PPMMFF-P"),
    Action("be seen typing", "typing", "+++PPMMFF-P"),
    Action("read messages", "history", "+++++++FFA+"),
    Action("search its messages", "message.search", "+++++++FFA+", {"query": "x"}),
    Action("sync", "sync", "+++++++FFA+", {"rev": 0, "epoch": "EPOCH"}),
    Action("move the read pointer", "read", "+++++++FFA+", {"seq": 1}),
    Action("mute, pin or hide it in the own list", "inbox.set", "+++++++FFA+", {"pinned": True}),
    Action("see who reacted", "message.reactions", "+++++MMFFA+", {"seq": "OTHER"}),
    Action("see who has read", "message.readers", "+++++MMFFA+", {"seq": "OTHER"}),
    Action("report another's message", "message.report", "+++++++FFA+", {"seq": "OTHER"}),
    Action("see the group's settings", "group.get", "+++++MMFFA+"),
    Action("list the members", "group.members", "+++++MMFFA+"),
    Action("invite (all members may)", "group.invite", "+++++MMFFAC", {"users": ["DAN"]}),
    Action("change name, picture, announcement", "group.update", "++PPPMMFFAC", {"name": "new"}),
    Action("make or end the link", "group.link", "++PPPMMFFAC", {"on": True}),
    Action("mute a member", "group.mute", "++PPPMMFFAC", {"user": "CAT", "until": 2**50}),
    Action("put a member out", "group.kick", "++PPPMMFFAC", {"users": ["CAT"]}),
    Action("make an admin", "group.role", "+PPPPMMFFAC", {"user": "CAT", "role": "admin"}),
    Action("hand the group over", "group.transfer", "+PPPPMMFFAC", {"user": "CAT"}),
    Action("dissolve the group", "group.dissolve", "+PPPPMMFFAC"),
    Action("leave the group", "group.leave", "C++++MMFFAC"),
    Action("accept an invitation", "group.accept", "+++++FF+FA-"),
    Action("refuse an invitation", "group.reject", "FFFFFFF+FAF"),
    Action("come in by the link", "group.join", "++++++P++A-", {"link": "LINK"}),
)


def page() -> str:
    """The page, as it stands in the docs."""
    head = " | ".join(RELATIONS)
    rows = []
    for action in ACTIONS:
        cells = ["yes" if cell == "+" else "–" if cell == "-" else f"`{CODES[cell]}`" for cell in action.cells]
        rows.append(f"| {action.title} | {' | '.join(cells)} |")
    table = "\n".join(rows)
    return f"""# Who may do what

For whoever asks what a member, a guest or somebody who was put out can do. Every cell is tried by a test against the
rooms (`tests/chat_server/test_rights_table.py`), and the page is written from the same table; the rights themselves are
asked in `store/rights.py` alone.

*muted*: a member who may not speak for a while, or a plain member of a muted group. *banned*: by the operator, as long
as the ban lasts; whoever is banned has no session either. *left*: went by oneself. *kicked*: was put out. *pending*:
invited, and has not answered. *stranger*: never in it. *guest*: not logged in. *blocked*: in a direct chat, by the
other one.
What is refused names the error: what one was never in is always `not_found`, so that nobody learns that it exists.

| | {head} |
|---|{"---|" * len(RELATIONS)}
{table}
"""


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
