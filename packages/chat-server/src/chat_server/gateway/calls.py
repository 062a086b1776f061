"""Running a client's call through the pipeline and answering it, once."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import structlog
from chat_common.decoding import prepare
from chat_common.errors import ChatError, Internal
from chat_common.protocol.frames import Call
from chat_common.records import Caller

from chat_server.gateway.session import Session
from chat_server.gateway.sessions import Sessions
from chat_server.gateway.tasks import Tasks
from chat_server.services import Dispatcher

log = structlog.get_logger("chat.gateway")


class _Addressed(msgspec.Struct):
    conversation: str = ""


prepare(_Addressed)


class Calls:
    """Answers come in any order, but submits of one session to one conversation are stored in the order sent."""

    def __init__(self, dispatcher: Dispatcher, sessions: Sessions, tasks: Tasks, most: int) -> None:
        self._dispatcher = dispatcher
        self._sessions = sessions
        self._tasks = tasks
        self._most = most

    @property
    def running(self) -> int:
        return self._sessions.calls

    def begin(self, session: Session, call: Call) -> None:
        """Start the call; its answer is written to the connection that it came over, or to none if that is gone."""
        caller = session.caller(call.ref)
        try:
            call = self._dispatcher.intercept("frame_in", caller, call)
        except ChatError as error:
            session.refuse(error, call.ref)
            return
        self._sessions.call_began(session)
        if session.calls >= self._most and session.connection is not None:
            session.connection.wire.pause_reading()
        work = self._serve(session, caller, call)
        if call.command == "submit" and not self._dispatcher.submit_in_order:
            work = self._after_the_last(session, call, work)
        self._tasks.spawn(work)

    async def _serve(self, session: Session, caller: Caller, call: Call) -> None:
        connection = session.connection
        try:
            try:
                result = await self._dispatcher.call(caller, call.command, call.params)
                if call.command == "sync":
                    _note_version(session, result)
                elif session.user is None:
                    self._note_ticket(session, result)
                if session.connection is connection:
                    session.reply(call.ref, result)
            except ChatError as error:
                if session.connection is connection:
                    session.refuse(error, call.ref)
            except Exception:
                log.exception("call_failed", command=call.command, ref=call.ref)
                if session.connection is connection:
                    session.refuse(
                        Internal("The server failed to handle this request; the failure has been logged."), call.ref
                    )
        finally:
            self._sessions.call_ended(session)
            if connection is not None and connection.paused_at is None and session.calls == self._most // 2:
                connection.wire.resume_reading()
            self._sessions.answered(session)

    def _note_ticket(self, session: Session, result: Any) -> None:
        """A guest's call that is answered with ``expires_in`` (seconds) begins a login: `auth.begin`, or a plugin's."""
        lifetime = getattr(result, "expires_in", None)
        if isinstance(lifetime, int | float):
            self._sessions.guests.began(session, lifetime)
            self._sessions.look_after(session)

    async def _after_the_last(self, session: Session, call: Call, work: Any) -> None:
        """Wait for the previous submit to the same conversation first."""
        try:
            name = msgspec.json.decode(call.params, type=_Addressed).conversation
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            name = ""
        if session.submits is None:
            session.submits = {}
        former = session.submits.get(name)
        done = session.submits[name] = asyncio.get_running_loop().create_future()
        try:
            if former is not None:
                await former
            await work
        finally:
            work.close()
            done.set_result(None)
            if session.submits.get(name) is done:
                del session.submits[name]


def _note_version(session: Session, result: Any) -> None:
    """A sync by version that was answered with ``more: false`` brings the session to that version."""
    version = getattr(result, "version", None)
    if isinstance(version, int) and getattr(result, "more", None) is False:
        session.versions.synced(version)
