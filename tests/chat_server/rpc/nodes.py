"""Two nodes that know each other over gRPC, in one process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from chat_common.contracts.rpc import SERVICES
from chat_common.ports.rpc import Peer
from chat_server.rpc.grpc_rpc import GrpcRpc
from chat_server.rpc.settings import GrpcRpcSettings


def introduce(**nodes: GrpcRpc) -> None:
    """Each is told of all the others."""
    peers = {name: Peer(node.address, SERVICES) for name, node in nodes.items()}
    for name, node in nodes.items():
        node.meet(name, peers)


@asynccontextmanager
async def two_nodes(**settings: Any) -> AsyncIterator[tuple[GrpcRpc, GrpcRpc]]:
    one, two = GrpcRpc(GrpcRpcSettings(**settings)), GrpcRpc(GrpcRpcSettings(**settings))
    async with one.opened(), two.opened():
        introduce(one=one, two=two)
        yield one, two
