"""Which part of the server a process runs: the sockets, the rooms behind them, or both."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from chat_common.settings import SetupError, nearest

GATEWAY = "gateway"
ROOMS = ("im", "logic", "auth", "router")
"""They share the database, and run together."""
ALL = (GATEWAY, *ROOMS)
SERVICES = {
    GATEWAY: ("gateway", "metrics"),
    "im": ("im", "commands", "costs", "relay"),
    "auth": ("auth",),
    "router": ("push",),
}
"""What a node of a role answers other nodes."""


def roles_of(named: Sequence[str], rpc: str) -> frozenset[str]:
    """The roles of this process; ``rpc``: the backend of calls between nodes. `SetupError` says what to add."""
    for name in named:
        if name not in ALL:
            raise SetupError(f"[server] roles: no role {name!r}: {nearest(name, ALL)}")
    roles = frozenset(named)
    rooms = [name for name in ROOMS if name in roles]
    if not roles:
        raise SetupError(f"[server] roles is empty: write {_listed(ALL)}, or leave it out.")
    if rooms and len(rooms) < len(ROOMS):
        others = _listed([name for name in ROOMS if name not in roles])
        raise SetupError(f"[server] roles: {_listed(ROOMS)} run together so far. Add {others}.")
    if rpc == "direct" and len(roles) < len(ALL):
        raise SetupError(
            f'[server] roles: nobody runs {missing(roles)}. Add them here, or set [ports] rpc to "grpc" and run them'
            " on another node."
        )
    return roles


def services_of(roles: Collection[str]) -> frozenset[str]:
    """What a node of these roles serves; roles of a later release say nothing here."""
    return frozenset(service for role in roles for service in SERVICES.get(role, ()))


def missing(roles: Collection[str]) -> str:
    """The roles that are not among these, as a list for people."""
    return _listed([name for name in ALL if name not in roles])


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)
