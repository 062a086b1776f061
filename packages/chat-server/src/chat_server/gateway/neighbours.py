"""The other rooms as the gateway sees them: by their types in `services`, never by their code."""

from __future__ import annotations

from attrs import define
from chat_common.ports.directory import Directory

from chat_server.services import AuthService, Dispatcher, ImService, RouterService


@define
class Neighbours:
    """Not frozen: the composition root may close a circle (router ↔ gateway) before the gateway is entered."""

    auth: AuthService
    im: ImService
    router: RouterService
    directory: Directory
    dispatcher: Dispatcher
