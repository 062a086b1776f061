"""A chat server of one's own, with one plugin beside it: `python examples/server/serve.py`."""

from __future__ import annotations

import sys
from pathlib import Path

from chat_server import Server, run

sys.path.insert(0, str(Path(__file__).parent))
import politeness

if __name__ == "__main__":
    server = Server(
        settings={"server": {"port": 8080, "data": "chat-data"}, "auth": {"dev": True}},
        plugins=[politeness],
    )
    run(server)
