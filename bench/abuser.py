"""One member who calls as fast as several connections take it: everything that costs the server something.

    python -m bench.abuser HOST PORT TOKEN DEVICE CONVERSATION

Prints a line when it is at work, and goes on until it is killed.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import sys
import threading
from collections.abc import Iterator
from typing import Any

from websockets.exceptions import WebSocketException
from websockets.sync.client import ClientConnection, connect

CONNECTIONS = 4
AT_ONCE = 100


def calls(conversation: str, connection: int) -> Iterator[str]:
    """Frame lists without end."""
    body = {"conversation": conversation, "kind": "text", "body": {"text": "x" * 100}}
    wanted: list[tuple[str, dict[str, Any]]] = [
        ("submit", body),
        ("submit", body),
        ("user.search", {"query": "be"}),
        ("inbox.list", {}),
        ("history", {"conversation": conversation}),
        ("group.create", {"name": "more", "members": []}),
        ("no.such", {}),
    ]
    for number in itertools.count():
        refs = range(number * AT_ONCE, (number + 1) * AT_ONCE)
        frames = [(f"a{connection}-{ref}", *wanted[ref % len(wanted)]) for ref in refs]
        yield json.dumps(
            [{"op": "call", "ref": ref, "command": name, "params": params} for ref, name, params in frames]
        )


def swallow(socket: ClientConnection) -> None:
    """Read whatever is answered, until the end."""
    with contextlib.suppress(WebSocketException):
        for _ in socket:
            pass


def abuse(url: str, token: str, device: str, conversation: str, connection: int, working: threading.Event) -> None:
    hello = {"op": "hello", "token": token, "device": {"id": device, "platform": "test"}}
    made = calls(conversation, connection)
    while True:
        try:
            with connect(url, max_size=None) as socket:
                threading.Thread(target=swallow, args=(socket,), daemon=True).start()
                socket.send(json.dumps(hello))
                for message in made:
                    socket.send(message)
                    working.set()
        except (OSError, WebSocketException):
            continue


def main() -> None:
    host, port, token, device, conversation = sys.argv[1:]
    working = threading.Event()
    for number in range(CONNECTIONS):
        arguments = (f"ws://{host}:{port}/ws", token, device, conversation, number, working)
        threading.Thread(target=abuse, args=arguments, daemon=True).start()
    working.wait()
    print("at work", flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
