"""Ephemeral events of a client (typing): bounded, and dropped silently where they would pile up."""

from __future__ import annotations

import structlog
from attrs import define
from chat_common.codec import Codec
from chat_common.errors import ChatError, NotAuthenticated
from chat_common.events import Typing
from chat_common.protocol.frames import ClientNote
from chat_common.wire import Id

from chat_server.gateway.session import Session
from chat_server.gateway.tasks import Tasks
from chat_server.services import EphemeralNote, Gate, ImService, RouterService, Speaker

log = structlog.get_logger("chat.gateway")

LIMIT = 256
"""Most events that a node handles at the same time."""


@define(kw_only=True)
class TypingNote:
    conversation: Id


class EphemeralEvents:
    """Handles one event of a session at a time; ignores unknown events, and those for conversations of others."""

    def __init__(self, gate: Gate, im: ImService, router: RouterService, codec: Codec, tasks: Tasks) -> None:
        self._gate = gate
        self._im = im
        self._router = router
        self._codec = codec
        self._tasks = tasks
        self._running = 0

    def begin(self, session: Session, note: ClientNote) -> None:
        try:
            note = self._gate.intercept("frame_in", session.caller(""), note)
            if session.user is None:
                raise NotAuthenticated("Log in before you send ephemeral events.")
            if note.event != "typing":
                return
            typing = self._codec.decode(note.data, TypingNote)
        except ChatError as error:
            session.refuse(error)
            return
        if not session.event_running and self._running < LIMIT:
            session.event_running = True
            self._running += 1
            self._tasks.spawn(self._typing(session, session.user, typing.conversation))

    async def _typing(self, session: Session, user: str, conversation: str) -> None:
        try:
            users = await self._im.audience(Speaker(user, conversation))
            if users:
                data = Typing(conversation=conversation, user=user)
                await self._router.note(EphemeralNote(users, "typing", data))
        except ChatError as error:
            log.debug("note_dropped", session=session.id, code=error.code)
        finally:
            session.event_running = False
            self._running -= 1
