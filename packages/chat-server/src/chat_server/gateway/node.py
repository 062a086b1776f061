"""What holds for a whole node: read by every part of the gateway, changed by none."""

from __future__ import annotations

from attrs import frozen
from chat_common.clock import Clock
from chat_common.codec import Codec
from chat_common.protocol.session import SessionSettings
from chat_common.wire import Limits

from chat_server.gateway.settings import GatewaySettings


@frozen
class Node:
    """``boot`` is the random id of this start, ``limits`` what `welcome` tells."""

    settings: GatewaySettings
    clock: Clock
    codec: Codec
    name: str
    boot: str
    limits: Limits

    @property
    def session_settings(self) -> SessionSettings:
        """What all its sessions agree on."""
        settings = self.settings
        return SessionSettings(
            self.codec,
            self.clock.wall_ms,
            settings.limits,
            heartbeat=settings.heartbeat,
            ack_timeout=settings.ack_timeout,
            hello_timeout=settings.hello_timeout,
            resume_for=settings.resume_for,
        )
