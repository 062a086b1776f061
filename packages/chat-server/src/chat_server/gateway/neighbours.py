"""The other rooms as the gateway sees them: by their types in `services`, never by their code."""

from __future__ import annotations

from attrs import frozen
from chat_common.ports.directory import Directory

from chat_server.services import AuthService, Dispatcher, ImService, RouterService


@frozen
class Neighbours:
    """What the composition root hands the gateway; each part takes of it what it needs."""

    auth: AuthService
    im: ImService
    router: RouterService
    directory: Directory
    dispatcher: Dispatcher
