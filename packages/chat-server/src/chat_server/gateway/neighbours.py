"""The other rooms as the gateway sees them: by their types in `services`, never by their code."""

from __future__ import annotations

from attrs import frozen
from chat_common.ports.directory import Directory

from chat_server.services import AuthService, CommandService, Gate, ImService, PushService, RouterService


@frozen
class Neighbours:
    """What the composition root hands the gateway; each part takes of it what it needs. All but ``router``,
    ``directory`` and ``gate`` may be in another process. ``renew_before``: see `TokenWatch`."""

    auth: AuthService
    im: ImService
    router: RouterService
    directory: Directory
    commands: CommandService
    push: PushService
    gate: Gate
    renew_before: float = 0.0
