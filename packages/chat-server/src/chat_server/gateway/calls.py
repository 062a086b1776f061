"""Running a client's call through the pipeline and answering it, once."""

from __future__ import annotations

import asyncio
from typing import Any

import structlog
from chat_common.errors import ChatError, Internal
from chat_common.protocol.frames import Call
from chat_common.records import Caller

from chat_server.gateway.session import Session
from chat_server.gateway.sessions import Sessions
from chat_server.gateway.tasks import Tasks
from chat_server.services import CommandCall, CommandService, Gate, conversation_of

log = structlog.get_logger("chat.gateway")


class Calls:
    """Answers come in any order, but submits of one session to one conversation are stored in the order sent."""

    def __init__(self, commands: CommandService, gate: Gate, sessions: Sessions, tasks: Tasks, most: int) -> None:
        self._commands = commands
        self._gate = gate
        self._sessions = sessions
        self._tasks = tasks
        self._most = most

    @property
    def running(self) -> int:
        return self._sessions.calls

    def begin(self, session: Session, call: Call, caller: Caller) -> None:
        """Start the call; its answer is written to the connection that it came over, or to none if that is gone."""
        try:
            call = self._gate.intercept("frame_in", caller, call)
        except ChatError as error:
            session.refuse(error, call.ref)
            return
        self._sessions.call_began(session)
        if session.calls >= self._most and session.connection is not None:
            session.connection.wire.pause_reading()
        work = self._serve(session, caller, call)
        if call.command == "submit" and not self._gate.submit_in_order:
            work = self._after_the_last(session, call, work)
        self._tasks.spawn(work)

    async def _serve(self, session: Session, caller: Caller, call: Call) -> None:
        connection = session.connection
        try:
            try:
                reply = await self._commands.call(CommandCall(caller, call.command, bytes(call.params)))
                if call.command == "sync":
                    if reply.version is not None:
                        session.versions.synced(reply.version)
                elif session.user is None and reply.expires_in is not None:
                    self._sessions.guests.began(session, reply.expires_in)
                    self._sessions.look_after(session)
                if session.connection is connection:
                    session.reply(call.ref, reply.result)
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

    async def _after_the_last(self, session: Session, call: Call, work: Any) -> None:
        """Wait for the previous submit to the same conversation first."""
        name = conversation_of(call.params)
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
