"""What the room auth is given: the ports it stands on, and what its neighbours do for it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from attrs import frozen
from chat_common import wire
from chat_common.clock import Clock
from chat_common.ports.cache import Cache
from chat_common.ports.database import Database

from chat_server.names.screening import Naming
from chat_server.services import CloseSessions, Deliver, SessionPush
from chat_server.store.executor import CommandExecutor
from chat_server.store.tx import Tx


@frozen
class Ports:
    """What everything in the room may use. ``node``: the name of this process."""

    database: Database
    executor: CommandExecutor
    cache: Cache
    clock: Clock
    node: str


@frozen
class Neighbours:
    """``create_user(tx, name, handle)``: the logic room makes a user; without a handle it finds one. ``close``: end
    sessions on every node. ``online(users)``: the (user, device) pairs that sit somewhere. ``tell``: one push to one
    session, False when it has gone. ``deliver``: pushes to the nodes of their receivers. ``naming``: what the names of
    new people pass."""

    create_user: Callable[[Tx, str, str | None], wire.User]
    close: Callable[[CloseSessions], Awaitable[int]]
    online: Callable[[Sequence[str]], Awaitable[Sequence[tuple[str, str]]]]
    tell: Callable[[SessionPush], Awaitable[bool]]
    deliver: Deliver
    naming: Naming
