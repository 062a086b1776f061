"""The gateway: who is on this wire? Connections, sessions, ACK windows, heartbeats, back-pressure; no business rules.

How the composition root wires it::

    gateway = Gateway(settings, clock, node, auth, im, router, directory, dispatcher, JsonCodec())
    pipeline.register(…)                      # gateway.contributions(): the command presence.watch
    async with gateway:                       # beats, checks, renews leases; drains when it is left
        ...                                   # transports call gateway.connect(wire)

Its neighbours come under the types of `services`. Where they form a circle (the router delivers to the gateway),
``gateway.neighbours`` may be completed before the gateway is entered. The gateway itself is a `GatewayService`.
Keywords: ``boot`` (random id of this start), ``limits`` (told in `welcome`), ``report_acks`` (whether the router wants
to hear what was acknowledged), ``drop`` (asked for each delivery, true loses it: for tests that plant losses).
"""

from chat_server.gateway.connection import ClientConnection
from chat_server.gateway.gateway import Gateway
from chat_server.gateway.presence import Watched, WatchPresence
from chat_server.gateway.settings import GatewaySettings
from chat_server.gateway.wire import Framing, Wire

__all__ = ["ClientConnection", "Framing", "Gateway", "GatewaySettings", "WatchPresence", "Watched", "Wire"]
