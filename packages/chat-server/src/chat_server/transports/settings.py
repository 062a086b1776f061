"""What a connection may take before anybody has logged in."""

from __future__ import annotations

from typing import Annotated

from attrs import frozen
from chat_common.settings import setting
from msgspec import Meta

Number = Annotated[int, Meta(ge=1)]
Seconds = Annotated[float, Meta(gt=0)]


@frozen(kw_only=True)
class ConnectionSettings:
    """Section ``[connections]``, for our own server; embedded, these are the host's to say."""

    max_connections: Number = setting(
        20_000, help="Connections of one process at most, HTTP and WebSocket; fewer where it may open fewer files."
    )
    per_address: Number = setting(
        256, help="Connections from one address at most (IPv6: a /64; a /48 ten times as many). This machine is exempt."
    )
    head_bytes: Number = setting(65_536, help="Bytes of a request's line and header fields at most.")
    head_fields: Number = setting(100, help="Header fields of a request at most.")
    head_timeout: Seconds = setting(10.0, help="Seconds within which the head of a request is complete.")
    body_timeout: Seconds = setting(30.0, help="Seconds within which the body of a command is complete.")
    keep_alive: Seconds = setting(75.0, help="Seconds that a connection may be idle between two requests.")
    write_timeout: Seconds = setting(
        120.0, help="Seconds that a client may take nothing of an answer before its connection is dropped."
    )
    message_fragments: Number = setting(128, help="Fragments of one WebSocket message at most.")
    message_timeout: Seconds = setting(30.0, help="Seconds within which a fragmented message is complete.")
