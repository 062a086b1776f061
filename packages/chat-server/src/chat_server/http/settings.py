"""Which doors of HTTP are open."""

from __future__ import annotations

from typing import Literal

from attrs import frozen
from chat_common.settings import setting


@frozen(kw_only=True)
class HttpSettings:
    """Section ``[http]``."""

    access_log: bool = setting(False, help="Whether each HTTP request is logged.")
    metrics: bool = setting(True, help="Whether GET /metrics answers.")
    web_client: bool = setting(True, help="Whether GET / serves the web client.")
    loop: Literal["auto", "asyncio", "uvloop"] = setting(
        "auto", help="The event loop of chat-server: auto takes uvloop where it is installed."
    )
