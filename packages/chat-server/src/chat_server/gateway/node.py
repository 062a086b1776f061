"""What holds for a whole node: read by every part of the gateway, changed by none."""

from __future__ import annotations

import secrets

from attrs import field, frozen
from chat_common.clock import Clock
from chat_common.codec import Codec
from chat_common.protocol.session import SessionSettings
from chat_common.wire import Limits

from chat_server.gateway.settings import GatewaySettings
from chat_server.refusals import Refusals


def _new_boot() -> str:
    return secrets.token_hex(8)


@frozen
class Node:
    """``name``: unique among the nodes. ``boot``: the random id of this start. ``limits``: what `welcome` tells.
    ``refusals``: where what is turned away is counted."""

    settings: GatewaySettings
    clock: Clock
    codec: Codec
    name: str
    boot: str = field(factory=_new_boot)
    limits: Limits = field(factory=Limits)
    refusals: Refusals = field(factory=Refusals)

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
