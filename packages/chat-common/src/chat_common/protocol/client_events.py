"""What a `ClientSession` tells, one frozen class an event."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attrs import frozen

from chat_common.errors import ChatError
from chat_common.protocol.frames import Welcome
from chat_common.wire import Contact, Conversation, Inbox, Member, Message, User


@frozen
class Welcomed:
    """A connection stands; ``welcome.resumed`` says whether the session goes on."""

    welcome: Welcome


@frozen
class Disconnected:
    """The connection is gone; unless `Ended` follows, the client makes another one."""

    code: int | None


@frozen
class Answered:
    """A call is answered, once per ref: by ``result``, or by ``error``."""

    ref: str
    result: Any = None
    error: ChatError | None = None


@frozen
class MessageReceived:
    """A message that this client did not hold: once each, and per conversation in order of ``seq``."""

    message: Message


@frozen
class MessageChanged:
    """A message that is held, in a newer state: edited, recalled, reacted to."""

    message: Message


@frozen
class MembersChanged:
    conversation: str
    members: Sequence[Member]


@frozen
class ConversationChanged:
    conversation: Conversation


@frozen
class InboxChanged:
    inbox: Inbox


@frozen
class ContactChanged:
    contact: Contact


@frozen
class UserChanged:
    user: User


@frozen
class Noted:
    """Volatile: typing, presence. May be missed."""

    event: str
    data: Any


@frozen
class TokenRenewed:
    """The server has given a new token, which this client uses from now on: store it for the next start.

    ``expires_at`` in ms since 1970.
    """

    token: str
    expires_at: int


@frozen
class Told:
    """A counted push that changes nothing in the copy: login, and what plugins add."""

    event: str
    data: Any


@frozen
class Synced:
    """The sync is complete: the copy is as new as the server's answer was."""


@frozen
class StartedOver:
    """Another epoch: the copy was emptied and is read anew; messages may be received again."""

    epoch: str


@frozen
class GapFound:
    """Numbers ``first`` … ``last`` of a conversation were missing after a sync, and were asked for by `history`.

    For debugging: a defect of the server or of this client, repaired. ``found`` are the numbers that the answer
    brought; `MessageReceived` tells them too. Empty: the server does not have them, or does not say so.
    """

    conversation: str
    first: int
    last: int
    found: tuple[int, ...]


@frozen
class Refused:
    """A frame of ours that has no ref was refused: a defect of this client or of the server, told to be logged."""

    error: ChatError


@frozen
class Ended:
    """The session is over and no new connection will help; open calls have failed with ``error``."""

    code: int
    reason: str
    error: ChatError


Event = (
    Welcomed
    | Disconnected
    | Answered
    | MessageReceived
    | MessageChanged
    | MembersChanged
    | ConversationChanged
    | InboxChanged
    | ContactChanged
    | UserChanged
    | Noted
    | TokenRenewed
    | Told
    | Synced
    | StartedOver
    | GapFound
    | Refused
    | Ended
)
