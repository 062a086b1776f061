"""An instant-messaging server to embed, to run, to extend.

`Server` is the whole server as an async context manager; `run` serves one until it is told to stop. `Person` is what an
application tells of its people, see `chat_server.embedding.identify`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chat_server.cli.serve import run
    from chat_server.embedding.identify import Person
    from chat_server.server import Server

__all__ = ["Person", "Server", "run"]


def __getattr__(name: str) -> Any:
    # Imported when asked for: `import chat_server` alone (the command line's first step) stays cheap.
    if name == "Server":
        from chat_server.server import Server

        return Server
    if name == "Person":
        from chat_server.embedding.identify import Person

        return Person
    if name == "run":
        from chat_server.cli.serve import run

        return run
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
