"""A session's token: renewed in good time, and the end of the session when it ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog
from chat_common.errors import ChatError, NotAuthenticated, NotPermitted
from chat_common.protocol.closing import CloseCode
from chat_common.records import Push

from chat_server.gateway.session import Session

if TYPE_CHECKING:
    from chat_server.gateway.gateway import Gateway

log = structlog.get_logger("chat.gateway")

RETRY_MS = 30_000


class Tokens:
    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def watch(self, session: Session) -> None:
        """Look after the token that the session has now."""
        if session.identity is None:
            return
        wall = self._gateway.clock.wall_ms()
        left = session.identity.expires_at - wall
        session.token_due = wall + max(left - round(self._gateway.settings.renew_before * 1000), left // 2)

    def due(self, session: Session) -> float:
        """Renew or end what is due; returns in how many seconds to look again."""
        if session.identity is None or not session.token_due:
            return float("inf")
        wall = self._gateway.clock.wall_ms()
        if wall >= session.identity.expires_at:
            session.token_due = 0
            session.close(CloseCode.TOKEN_INVALID, "the token has expired")
            return float("inf")
        if wall >= session.token_due:
            session.token_due = min(session.identity.expires_at, wall + RETRY_MS)
            if session.live:
                self._gateway.tasks.spawn(self._renew(session))
        return (session.token_due - wall) / 1000

    async def _renew(self, session: Session) -> None:
        gateway, identity = self._gateway, session.identity
        assert identity is not None
        try:
            token, expires_at = await gateway.neighbours.auth.renew(identity)
            fresh = await gateway.neighbours.auth.authenticate(token, session.device, None, None)
        except (NotAuthenticated, NotPermitted) as error:
            # Ended where this node was not told of it.
            banned = isinstance(error, NotPermitted)
            session.close(CloseCode.BANNED if banned else CloseCode.TOKEN_INVALID, error.message)
            gateway.flush.touch(session)
            gateway.look_after(session)
            return
        except ChatError as error:
            log.warning("token_not_renewed", session=session.id, code=error.code)
            return
        if session.identity is identity:
            session.identity = fresh
            self.watch(session)
            gateway.put(session, Push("token", {"token": token, "expires_at": expires_at}))
