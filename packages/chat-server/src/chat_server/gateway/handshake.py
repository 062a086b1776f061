"""From `hello` to `welcome`: a new session, or the resumption of one that still waits."""

from __future__ import annotations

import random
import secrets

import structlog
from chat_common.errors import ChatError, Internal, NotAuthenticated, NotPermitted
from chat_common.protocol.closing import CloseCode
from chat_common.protocol.frames import Bye, Hello, Resume, Welcome
from chat_common.protocol.session import State
from msgspec import UNSET

from chat_server.gateway.neighbours import Neighbours
from chat_server.gateway.node import Node
from chat_server.gateway.presence import Presence
from chat_server.gateway.routes import Routes
from chat_server.gateway.session import Connection, Session
from chat_server.gateway.sessions import Sessions
from chat_server.gateway.streams import Streams
from chat_server.gateway.tasks import Tasks
from chat_server.gateway.token_watch import TokenWatch
from chat_server.services import Credentials, HeadsAsked, Identity, LoginEnded, UserVersion, VouchedUser

NEVER = (1 << 53) - 1

log = structlog.get_logger("chat.gateway")


class Handshake:
    """The order is the guarantee: the route stands in the directory, and the user is arriving; then one read tells the
    version, the epoch and his hot conversations; then, in one turn of the loop, that is merged with what has passed and
    the session goes live. What is pushed meanwhile waits until after `welcome`, and the sync that the client begins
    after it closes what lies before.

    What ends sessions meanwhile (a logout, a ban) is noted too, from before the token is read to where the session can
    be found by its user.
    """

    def __init__(
        self,
        node: Node,
        neighbours: Neighbours,
        sessions: Sessions,
        tasks: Tasks,
        routes: Routes,
        streams: Streams,
        token_watch: TokenWatch,
        presence: Presence,
    ) -> None:
        self._node = node
        self._now = node.clock.monotonic
        self._near = neighbours
        self._sessions = sessions
        self._tasks = tasks
        self._routes, self._streams = routes, streams
        self._token_watch, self._presence = token_watch, presence

    def begin(self, connection: Connection, session: Session, hello: Hello) -> None:
        """Serve the hello; the answer is `welcome`, an error, or the end of the connection."""
        self._tasks.spawn(self._serve(connection, session, hello))

    async def _serve(self, connection: Connection, session: Session, hello: Hello) -> None:
        try:
            hello = self._near.gate.intercept("frame_in", session.caller(""), hello)
            session.device = hello.device.id
            if hello.token is None and connection.wire.user is None:
                await self._guest(connection, session, hello)
            else:
                with self._sessions.entering(session):
                    await self._user(connection, session, hello)
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
                session.reject(Internal("The server failed to handle this request; the failure has been logged."))
        finally:
            self._sessions.flush.touch(session)
            self._sessions.look_after(session)

    async def _guest(self, connection: Connection, session: Session, hello: Hello) -> None:
        epoch = self._sessions.epoch or (await self._near.im.heads(HeadsAsked((), (), NEVER))).epoch
        if self._waits(connection, session):
            self._sessions.guests.enter(session, connection.wire.address)
            session.id = new_id()
            self._sessions.index.add(session)
            session.welcome(self._welcome(session, False, epoch, 0), self._now(), beat_in=self._first_beat())

    async def _user(self, connection: Connection, session: Session, hello: Hello) -> None:
        try:
            await self._identify(connection, session, hello)
        except BaseException:  # Another hello may follow.
            self._sessions.forget(session)
            session.user = session.profile = session.identity = None
            raise

    async def _identify(self, connection: Connection, session: Session, hello: Hello) -> None:
        device, wire, auth = hello.device, connection.wire, self._near.auth
        if hello.token is not None:
            identity = await auth.authenticate(Credentials(hello.token, device.id, device.platform, device.name))
        else:
            assert wire.user is not None
            who = VouchedUser(wire.user, device.id, device.platform, device.name, wire.address)
            identity = await auth.vouched(who)
        if not self._waits(connection, session):
            return
        user = identity.user.user
        session.user, session.profile, session.identity = user, identity.user, identity
        if (request := self._sessions.ended(session)) is not None:
            session.close(request.code, request.reason, reconnect=request.reconnect)
            return
        if hello.resume is not None and self._find(session, hello.resume, user) is not None:
            known = await self._near.im.version(user)
            if (request := self._sessions.ended(session)) is not None:
                session.close(request.code, request.reason, reconnect=request.reconnect)
                return
            if self._resume(connection, session, hello.resume, identity, known):
                return
            if not self._waits(connection, session):
                return
        session.id = new_id()
        self._sessions.index.add(session)
        await self._enter(connection, session, user)

    async def _enter(self, connection: Connection, session: Session, user: str) -> None:
        """A new session: announced, read, merged, live."""
        await self._routes.register(session)
        with self._streams.arriving(user) as noted:
            arrival = await self._near.im.arrival(user)
            if not self._waits(connection, session):
                self._sessions.forget(session)
                return
            alone = not any(other.welcomed for other in self._sessions.index.of((user,)))
            self._streams.arrived(user, arrival.rooms, noted, alone=alone)
        self._sessions.epoch = self._sessions.epoch or arrival.epoch
        self._token_watch.watch(session)
        session.welcome(
            self._welcome(session, False, arrival.epoch, arrival.version), self._now(), beat_in=self._first_beat()
        )
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
        known: UserVersion,
    ) -> bool:
        """Move the old session to this connection, if that can be; nothing waits from the check to the end."""
        old = self._find(session, resume, identity.user.user if identity is not None else None)
        if old is None or not self._waits(connection, session):
            return False
        now = self._now()
        former = old.connection
        if former is not None:
            bye = Bye(CloseCode.RESUMED_ELSEWHERE, "resumed over another connection", "resume")
            try:
                if former.paused_at is None:
                    former.wire.write(former.wire.framing.pack([self._node.codec.encode(bye)]))
                    former.wire.close(CloseCode.RESUMED_ELSEWHERE, bye.reason)
                else:
                    former.wire.abort()
            except Exception:  # A failure of the old connection must not refuse the new one.
                log.exception("write_failed", address=former.wire.address)
            former.session = None
            old.connection = None
            old.detach(now)
        session.detach(now)
        session.connection = None
        connection.session, old.connection = old, connection
        if identity is not None:
            old.identity, old.profile = identity, identity.user
            self._token_watch.watch(old)
        old.resume(
            self._welcome(old, True, known.epoch, known.version), resume.received, now, beat_in=self._first_beat()
        )
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
