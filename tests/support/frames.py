"""What stands in a message of the server: one frame, or a list of them, whenever several are due at once."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from websockets.asyncio.client import ClientConnection


async def frames(socket: ClientConnection, seconds: float = 5.0) -> list[dict[str, Any]]:
    """The frames of the next message."""
    async with asyncio.timeout(seconds):
        data = json.loads(await socket.recv())
    return data if isinstance(data, list) else [data]
