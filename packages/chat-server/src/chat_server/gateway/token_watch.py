"""A session's token: renewed in good time, and the end of the session when it ends."""

from __future__ import annotations

import structlog
from attrs import evolve
from chat_common.clock import Clock
from chat_common.errors import ChatError, NotAuthenticated, NotPermitted
from chat_common.events import TokenRenewed
from chat_common.protocol.closing import CloseCode
from chat_common.records import Push

from chat_server.gateway.pushing import Pushing
from chat_server.gateway.session import Session
from chat_server.gateway.sessions import Sessions
from chat_server.gateway.tasks import Tasks
from chat_server.services import AuthService

log = structlog.get_logger("chat.gateway")

RETRY_MS = 30_000


class TokenWatch:
    """``renew_before``: seconds before the end of a token at which its session is pushed a fresh one."""

    def __init__(
        self,
        auth: AuthService,
        renew_before: float,
        sessions: Sessions,
        pushing: Pushing,
        tasks: Tasks,
        clock: Clock,
    ) -> None:
        self._auth = auth
        self._renew_before = round(renew_before * 1000)
        self._sessions = sessions
        self._pushing = pushing
        self._tasks = tasks
        self._clock = clock
        sessions.due.append(self.due)

    def watch(self, session: Session) -> None:
        """Look after the token that the session has now."""
        if session.identity is None:
            return
        wall = self._clock.wall_ms()
        left = session.identity.expires_at - wall
        session.token_due = wall + max(left - self._renew_before, left // 2)

    def due(self, session: Session) -> float:
        """Renew or end what is due; returns in how many seconds to look again."""
        if session.identity is None or not session.token_due:
            return float("inf")
        wall = self._clock.wall_ms()
        if wall >= session.identity.expires_at:
            session.token_due = 0
            session.close(CloseCode.TOKEN_INVALID, "the token has expired")
            return float("inf")
        if wall >= session.token_due:
            session.token_due = min(session.identity.expires_at, wall + RETRY_MS)
            if session.live:
                self._tasks.spawn(self._renew(session))
        return (session.token_due - wall) / 1000

    async def _renew(self, session: Session) -> None:
        sessions, identity = self._sessions, session.identity
        assert identity is not None
        try:
            renewed = await self._auth.renew(identity)
        except (NotAuthenticated, NotPermitted) as error:
            # The login has ended without this node having heard of it.
            banned = isinstance(error, NotPermitted)
            session.close(CloseCode.BANNED if banned else CloseCode.TOKEN_INVALID, error.message)
            sessions.flush.touch(session)
            sessions.look_after(session)
            return
        except ChatError as error:
            log.warning("token_not_renewed", session=session.id, code=error.code)
            return
        if session.identity is identity:
            session.identity = evolve(renewed.identity, vouched=identity.vouched)
            self.watch(session)
            if identity.vouched:
                return  # A token would outlive the application's own login.
            told = TokenRenewed(token=renewed.token, expires_at=renewed.identity.expires_at)
            self._pushing.one(session, Push("token", told))
