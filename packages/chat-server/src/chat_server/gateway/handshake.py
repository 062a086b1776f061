"""From `hello` to `welcome`: a new session, or the going on of one that still waits."""

from __future__ import annotations

import asyncio
import random
import secrets

import structlog
from chat_common.errors import ChatError, Internal, NotAuthenticated, NotPermitted
from chat_common.protocol.closing import CloseCode
from chat_common.protocol.frames import Bye, Hello, Resume, Welcome
from chat_common.protocol.session import State
from msgspec import UNSET

from chat_server.gateway.check import Check
from chat_server.gateway.node import Node
from chat_server.gateway.presence import Presence
from chat_server.gateway.rooms import Rooms
from chat_server.gateway.routes import Routes
from chat_server.gateway.session import Connection, Session
from chat_server.gateway.sessions import Sessions
from chat_server.gateway.tasks import Tasks
from chat_server.gateway.token_watch import TokenWatch
from chat_server.services import AuthService, Dispatcher, Identity, ImService, LoginEnded

log = structlog.get_logger("chat.gateway")


class Handshake:
    """The order is the guarantee: first the route in the directory, then the version is read, then `welcome`.

    What is pushed meanwhile waits until after `welcome`, so nothing falls between the version told and the pushes.
    """

    def __init__(
        self,
        node: Node,
        auth: AuthService,
        im: ImService,
        dispatcher: Dispatcher,
        sessions: Sessions,
        tasks: Tasks,
        *,
        routes: Routes,
        rooms: Rooms,
        tokens: TokenWatch,
        presence: Presence,
        check: Check,
    ) -> None:
        self._node = node
        self._now = node.clock.monotonic
        self._auth, self._im, self._dispatcher = auth, im, dispatcher
        self._sessions = sessions
        self._tasks = tasks
        self._routes, self._rooms, self._token_watch = routes, rooms, tokens
        self._presence, self._check = presence, check

    def begin(self, connection: Connection, session: Session, hello: Hello) -> None:
        self._tasks.spawn(self._serve(connection, session, hello))

    async def _serve(self, connection: Connection, session: Session, hello: Hello) -> None:
        try:
            hello = self._dispatcher.intercept("frame_in", session.caller(""), hello)
            session.device = hello.device.id
            if hello.token is None:
                await self._guest(connection, session, hello)
            else:
                await self._user(connection, session, hello, hello.token)
        except LoginEnded as error:
            session.close(error.close_code, error.message)
        except NotAuthenticated as error:
            session.close(CloseCode.TOKEN_INVALID, error.message)
        except NotPermitted as error:
            session.close(CloseCode.BANNED, error.message)
        except ChatError as error:
            if session.state is State.HANDSHAKE:
                session.reject(error)
        except Exception:
            log.exception("hello_failed")
            if session.state is State.HANDSHAKE:
                session.reject(Internal("something went wrong on the server"))
        finally:
            self._sessions.flush.touch(session)
            self._sessions.look_after(session)

    async def _guest(self, connection: Connection, session: Session, hello: Hello) -> None:
        epoch = self._check.epoch or (await self._im.heads((), ())).epoch
        if hello.resume is not None and self._resume(connection, session, hello.resume, None, epoch, 0):
            return
        if self._waits(connection, session):
            session.id = new_id()
            self._sessions.index.add(session)
            session.welcome(self._welcome(session, False, epoch, 0), self._now(), beat_in=self._first_beat())

    async def _user(self, connection: Connection, session: Session, hello: Hello, token: str) -> None:
        device = hello.device
        identity = await self._auth.authenticate(token, device.id, device.platform, device.name)
        if not self._waits(connection, session):
            return
        user = identity.user.user
        if hello.resume is not None and self._find(session, hello.resume, user) is not None:
            epoch, version = await self._im.version(user)
            if self._resume(connection, session, hello.resume, identity, epoch, version) or not self._waits(
                connection, session
            ):
                return
        session.id = new_id()
        session.user, session.profile, session.identity = user, identity.user, identity
        self._sessions.index.add(session)
        try:
            await self._routes.take(session)
            rooms, (epoch, version) = await asyncio.gather(self._im.hot_rooms(user), self._im.version(user))
        except BaseException:
            self._sessions.forget(session)
            session.user = session.profile = session.identity = None
            raise
        if not self._waits(connection, session):
            self._sessions.forget(session)
            return
        self._check.epoch = self._check.epoch or epoch
        self._rooms.join(session, rooms)
        self._token_watch.watch(session)
        session.welcome(self._welcome(session, False, epoch, version), self._now(), beat_in=self._first_beat())
        self._presence.came(user)

    def _find(self, session: Session, resume: Resume, user: str | None) -> Session | None:
        """The session asked for, if it is this device's of this user and could go on."""
        old = self._sessions.index.get(resume.session)
        if old is None or old.user != user or old.device != session.device or old.closing is not None:
            return None
        return old if old.can_resume(resume.received) else None

    def _resume(
        self,
        connection: Connection,
        session: Session,
        resume: Resume,
        identity: Identity | None,
        epoch: str,
        version: int,
    ) -> bool:
        """Move the old session to this connection, if that can be; nothing waits from the check to the end."""
        old = self._find(session, resume, identity.user.user if identity is not None else None)
        if old is None or not self._waits(connection, session):
            return False
        now = self._now()
        former = old.connection
        if former is not None:
            bye = Bye(CloseCode.RESUMED_ELSEWHERE, "resumed over another connection", "resume")
            if former.paused_at is None:
                former.wire.write(former.wire.framing.pack([self._node.codec.encode(bye)]))
                former.wire.close(CloseCode.RESUMED_ELSEWHERE, bye.reason)
            else:
                former.wire.abort()
            former.session = None
            old.connection = None
            old.detach(now)
        session.detach(now)
        session.connection = None
        connection.session, old.connection = old, connection
        if identity is not None:
            old.identity, old.profile = identity, identity.user
            self._token_watch.watch(old)
        old.resume(self._welcome(old, True, epoch, version), resume.received, now, beat_in=self._first_beat())
        self._sessions.flush.touch(old)
        self._sessions.look_after(old)
        if old.user is not None:
            self._presence.came(old.user)
        return True

    def _waits(self, connection: Connection, session: Session) -> bool:
        """Whether the client is still there and not welcomed yet, after whatever was awaited."""
        return connection.session is session and session.state is State.HANDSHAKE

    def _welcome(self, session: Session, resumed: bool, epoch: str, version: int) -> Welcome:
        node, settings = self._node, self._node.settings
        return Welcome(
            session=session.id,
            resumed=resumed,
            user=session.profile or UNSET,
            device=session.device,
            epoch=epoch,
            version=version,
            heartbeat=settings.heartbeat,
            resume_for=settings.resume_for,
            window=settings.window,
            limits=node.limits,
            server_time=node.clock.wall_ms(),
            node=node.name,
        )

    def _first_beat(self) -> float:
        """Anywhere in the second half of a heartbeat, so that clients that came together do not answer together."""
        return self._node.settings.heartbeat * random.uniform(0.5, 1.0)


def new_id() -> str:
    """A session id: 144 random bits."""
    return secrets.token_urlsafe(18)
