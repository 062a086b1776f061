"""What the five rooms offer each other: protocols whose methods take records and return records.

A room never imports another one; the composition root hands it its neighbours under these types. In one process that
is the object itself, split over hosts a proxy with the same methods.
"""

from chat_server.services.auth import AuthService, Credentials, Identity, LoginEnded, Renewed, VouchedUser
from chat_server.services.commands import (
    CommandCall,
    CommandReply,
    CommandService,
    CostsAsked,
    CostService,
    Gate,
    conversation_of,
)
from chat_server.services.gateway import (
    CloseSessions,
    Deliver,
    Delivery,
    EphemeralNote,
    GatewayService,
    MetricsAsked,
    MetricsService,
    Movements,
    RelayService,
    SessionPush,
)
from chat_server.services.im import (
    Arrival,
    Gap,
    Heads,
    HeadsAsked,
    ImService,
    LogPage,
    MembersAsked,
    Membership,
    Present,
    Spans,
    Speaker,
    UserVersion,
)
from chat_server.services.router import PushService, RouterService

__all__ = [
    "Arrival",
    "AuthService",
    "CloseSessions",
    "CommandCall",
    "CommandReply",
    "CommandService",
    "CostService",
    "CostsAsked",
    "Credentials",
    "Deliver",
    "Delivery",
    "EphemeralNote",
    "Gap",
    "Gate",
    "GatewayService",
    "Heads",
    "HeadsAsked",
    "Identity",
    "ImService",
    "LogPage",
    "LoginEnded",
    "MembersAsked",
    "Membership",
    "MetricsAsked",
    "MetricsService",
    "Movements",
    "Present",
    "PushService",
    "RelayService",
    "Renewed",
    "RouterService",
    "SessionPush",
    "Spans",
    "Speaker",
    "UserVersion",
    "VouchedUser",
    "conversation_of",
]
