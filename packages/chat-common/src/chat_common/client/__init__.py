"""The Python client: an asyncio chat client that survives what networks and servers do.

::

    login = await dev_login("http://127.0.0.1:8080", "ann")
    async with connect("http://127.0.0.1:8080", login.token) as client:
        receipt = await client.submit(conversation, "hello")
        async for event in client.events():
            match event:
                case MessageReceived(message): ...

Needs the extra ``client`` (websockets). The protocol itself is `chat_common.protocol.client`, without any I/O.
"""

from __future__ import annotations

from chat_common.client.backoff import Backoff
from chat_common.client.chat import ChatClient
from chat_common.client.commands import ReadState
from chat_common.client.connecting import connect
from chat_common.client.line import Line, LineClosed, Opener, open_websocket
from chat_common.client.login import Login, dev_login, password_login, post
from chat_common.client.sending import MessageRefused, MessageSent, Outgoing, SendQueue
from chat_common.protocol.client_events import (
    Answered,
    ContactChanged,
    ConversationChanged,
    Disconnected,
    Ended,
    Event,
    GapFound,
    InboxChanged,
    MembersChanged,
    MessageChanged,
    MessageReceived,
    Noted,
    Refused,
    StartedOver,
    Synced,
    TokenRenewed,
    Told,
    UserChanged,
    Welcomed,
)
from chat_common.protocol.client_state import Room, State
from chat_common.wire import Receipt

__all__ = [
    "Answered",
    "Backoff",
    "ChatClient",
    "ContactChanged",
    "ConversationChanged",
    "Disconnected",
    "Ended",
    "Event",
    "GapFound",
    "InboxChanged",
    "Line",
    "LineClosed",
    "Login",
    "MembersChanged",
    "MessageChanged",
    "MessageReceived",
    "MessageRefused",
    "MessageSent",
    "Noted",
    "Opener",
    "Outgoing",
    "ReadState",
    "Receipt",
    "Refused",
    "Room",
    "SendQueue",
    "StartedOver",
    "State",
    "Synced",
    "TokenRenewed",
    "Told",
    "UserChanged",
    "Welcomed",
    "connect",
    "dev_login",
    "open_websocket",
    "password_login",
    "post",
]
