"""Brings a run to its end: lets every client settle and reads what the store really holds, with fresh clients."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from chat_common.client import ChatClient
from chat_common.client.line import Opener, open_websocket
from chat_common.protocol.frames import Device

from tests.faults.ledger import Outcome, Room
from tests.faults.recording import Watched

SETTLED_WITHIN = 60.0


async def reckon(
    url: str,
    clients: Sequence[Watched],
    keepers: dict[str, str],
    *,
    tokens: Callable[[str], str],
    opener: Opener = open_websocket,
    patience: float = 20.0,
) -> Outcome:
    """The outcome of a run. ``keepers`` names for each conversation a user who was in it from first to last.

    A client has ``patience`` seconds (some heartbeats) to become equal to a fresh one by itself.
    """
    outcome = Outcome(users={client.name: client.user for client in clients})
    async with asyncio.timeout(SETTLED_WITHIN):
        for client in clients:
            await client.client.settled()
    for client in clients:
        await _compare(client, url, tokens(client.user), outcome, opener, patience)
    for conversation, keeper in keepers.items():
        async with _fresh(url, tokens(keeper), opener) as fresh:
            await fresh.settled()
            room = fresh.state.rooms[conversation]
            outcome.rooms[conversation] = Room(dict(room.messages), dict(room.members))
    return outcome


async def _compare(client: Watched, url: str, token: str, outcome: Outcome, opener: Opener, patience: float) -> None:
    for conversation, room in client.client.state.rooms.items():
        if room.inbox is not None and room.inbox.left is True:
            client.client.resync(conversation)  # no hint tells one who has left of later edits
    deadline = asyncio.get_running_loop().time() + patience
    while True:
        await client.client.settled()
        async with _fresh(url, token, opener) as fresh:
            await fresh.settled()
            outcome.pictures[client.name] = client.client.state.picture()
            outcome.fresh[client.name] = fresh.state.picture()
            _leave_out_what_was_recalled_later(outcome.pictures[client.name], outcome.fresh[client.name])
        same = outcome.pictures[client.name] == outcome.fresh[client.name]
        if same or asyncio.get_running_loop().time() > deadline:
            return
        await asyncio.sleep(0.2)


def _leave_out_what_was_recalled_later(mine: Any, fresh: Any) -> None:
    """Who has left is not told of later recalls, though a fresh client does not get the text any more."""
    for name, room in fresh["rooms"].items():
        if not room["inbox"].get("left") or name not in mine["rooms"]:
            continue
        recalled = {message["seq"] for message in room["messages"] if "recalled" in message}
        for messages in (room["messages"], mine["rooms"][name]["messages"]):
            for message in messages:
                if message["seq"] in recalled:
                    for field in ("body", "edited_at", "recalled", "mentions", "reply_to"):
                        message.pop(field, None)


def _fresh(url: str, token: str, opener: Opener) -> ChatClient:
    return ChatClient(url, token, device=Device("fresh", "test"), whole=True, opener=opener)
