"""Volatile notes of a client: typing. Bounded, and dropped without a word where they would pile up."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog
from attrs import define
from chat_common.errors import ChatError, NotAuthenticated
from chat_common.protocol.frames import ClientNote
from chat_common.wire import Id

from chat_server.gateway.session import Session

if TYPE_CHECKING:
    from chat_server.gateway.gateway import Gateway

log = structlog.get_logger("chat.gateway")

LIMIT = 256
"""Notes of a node that are being carried out at once."""


@define(kw_only=True)
class Typing:
    conversation: Id


class Notes:
    """One note of a session at a time; events that nobody knows, and notes to where one is not, are passed over."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._running = 0

    def begin(self, session: Session, note: ClientNote) -> None:
        gateway = self._gateway
        try:
            note = gateway.neighbours.dispatcher.intercept("frame_in", session.caller(""), note)
            if session.user is None:
                raise NotAuthenticated("a guest sends no notes")
            if note.event != "typing":
                return
            typing = gateway.codec.decode(note.data, Typing)
        except ChatError as error:
            session.refuse(error)
            return
        if not session.noting and self._running < LIMIT:
            session.noting = True
            self._running += 1
            gateway.tasks.spawn(self._typing(session, session.user, typing.conversation))

    async def _typing(self, session: Session, user: str, conversation: str) -> None:
        near = self._gateway.neighbours
        try:
            users = await near.im.audience(user, conversation)
            if users:
                await near.router.note(users, "typing", {"conversation": conversation, "user": user})
        except ChatError as error:
            log.debug("note_dropped", session=session.id, code=error.code)
        finally:
            session.noting = False
            self._running -= 1
