"""The gateway: who is on this wire? Connections, sessions, ACK windows, heartbeats, back-pressure; no business rules.

How the composition root wires it::

    near = Neighbours(auth, im, router, directory, commands, push, gate)
    gateway = Gateway(Node(settings, clock, JsonCodec(), "n1"), near)
    pipeline.register(…)                      # gateway.contributions(): the command presence.watch
    async with gateway:                       # beats, checks, renews leases; drains when it is left
        ...                                   # transports call gateway.connect(wire)

Its neighbours come under the types of `services`; the gateway itself is a `GatewayService`, which the router is given
afterwards. Keywords: ``report_acks`` (whether ``push`` wants to hear what was acknowledged), ``drop`` (asked for each
delivery, true loses it: for tests that plant losses).
"""

from chat_server.gateway.connection import ClientConnection
from chat_server.gateway.gateway import Gateway
from chat_server.gateway.neighbours import Neighbours
from chat_server.gateway.node import Node
from chat_server.gateway.presence import Watched, WatchPresence, presence_command, watch_nowhere
from chat_server.gateway.settings import GatewaySettings
from chat_server.gateway.wire import Framing, Wire

__all__ = [
    "ClientConnection",
    "Framing",
    "Gateway",
    "GatewaySettings",
    "Neighbours",
    "Node",
    "WatchPresence",
    "Watched",
    "Wire",
    "presence_command",
    "watch_nowhere",
]
