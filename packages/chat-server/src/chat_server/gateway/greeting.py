"""From `hello` to `welcome`: a new session, or the going on of one that still waits."""

from __future__ import annotations

import asyncio
import random
import secrets
from typing import TYPE_CHECKING

import structlog
from chat_common.errors import ChatError, Internal, NotAuthenticated, NotPermitted
from chat_common.ports.directory import Seat
from chat_common.protocol.closing import CloseCode
from chat_common.protocol.frames import Bye, Hello, Resume, Welcome
from chat_common.protocol.session import State
from msgspec import UNSET

from chat_server.gateway.link import Link
from chat_server.gateway.session import Session
from chat_server.services import Identity

if TYPE_CHECKING:
    from chat_server.gateway.gateway import Gateway

log = structlog.get_logger("chat.gateway")


class Greeting:
    """The order is the guarantee: first the seat in the directory, then the version is read, then `welcome`.

    What is pushed meanwhile waits until after `welcome`, so nothing falls between the version told and the pushes.
    """

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def begin(self, link: Link, session: Session, hello: Hello) -> None:
        self._gateway.tasks.spawn(self._greet(link, session, hello))

    async def _greet(self, link: Link, session: Session, hello: Hello) -> None:
        gateway = self._gateway
        try:
            hello = gateway.neighbours.dispatcher.intercept("frame_in", session.caller(""), hello)
            session.device = hello.device.id
            if hello.token is None:
                await self._guest(link, session, hello)
            else:
                await self._user(link, session, hello, hello.token)
        except NotAuthenticated as error:
            session.close(CloseCode.TOKEN_INVALID, error.message)
        except NotPermitted as error:
            session.close(CloseCode.BANNED, error.message)
        except ChatError as error:
            if session.state is State.GREETING:
                session.reject(error)
        except Exception:
            log.exception("hello_failed")
            if session.state is State.GREETING:
                session.reject(Internal("something went wrong on the server"))
        finally:
            gateway.flush.touch(session)
            gateway.look_after(session)

    async def _guest(self, link: Link, session: Session, hello: Hello) -> None:
        gateway = self._gateway
        epoch = gateway.epoch or (await gateway.neighbours.im.heads((), ())).epoch
        if hello.resume is not None and self._resume(link, session, hello.resume, None, epoch, 0):
            return
        if self._waits(link, session):
            session.id = new_id()
            gateway.roster.add(session)
            session.welcome(self._welcome(session, False, epoch, 0), gateway.now(), beat_in=self._first_beat())

    async def _user(self, link: Link, session: Session, hello: Hello, token: str) -> None:
        gateway, device = self._gateway, hello.device
        near = gateway.neighbours
        identity = await near.auth.authenticate(token, device.id, device.platform, device.name)
        if not self._waits(link, session):
            return
        user = identity.user.user
        if hello.resume is not None and self._find(session, hello.resume, user) is not None:
            epoch, version = await near.im.version(user)
            if self._resume(link, session, hello.resume, identity, epoch, version) or not self._waits(link, session):
                return
        session.id = new_id()
        session.user, session.profile, session.identity = user, identity.user, identity
        gateway.roster.add(session)
        try:
            await near.directory.register(self._seat(session), lease=gateway.settings.lease)
            rooms, (epoch, version) = await asyncio.gather(near.im.hot_rooms(user), near.im.version(user))
        except BaseException:
            gateway.over(session)
            session.user = session.profile = session.identity = None
            raise
        if not self._waits(link, session):
            gateway.over(session)
            return
        gateway.epoch = gateway.epoch or epoch
        gateway.rooms.join(session, rooms)
        gateway.tokens.watch(session)
        session.welcome(self._welcome(session, False, epoch, version), gateway.now(), beat_in=self._first_beat())
        gateway.presence.came(user)

    def _find(self, session: Session, resume: Resume, user: str | None) -> Session | None:
        """The session asked for, if it is this device's of this user and could go on."""
        old = self._gateway.roster.get(resume.session)
        if old is None or old.user != user or old.device != session.device or old.doomed is not None:
            return None
        return old if old.can_resume(resume.received) else None

    def _resume(
        self, link: Link, session: Session, resume: Resume, identity: Identity | None, epoch: str, version: int
    ) -> bool:
        """Move the old session to this connection, if that can be; nothing waits from the check to the end."""
        gateway = self._gateway
        old = self._find(session, resume, identity.user.user if identity is not None else None)
        if old is None or not self._waits(link, session):
            return False
        now = gateway.now()
        former = old.link
        if former is not None:
            bye = Bye(CloseCode.RESUMED_ELSEWHERE, "resumed over another connection", "resume")
            if former.paused_at is None:
                former.wire.write(former.wire.framing.pack([gateway.codec.encode(bye)]))
                former.wire.close(CloseCode.RESUMED_ELSEWHERE, bye.reason)
            else:
                former.wire.abort()
            former.session = None
            old.link = None
            old.detach(now)
        session.detach(now)
        session.link = None
        link.session, old.link = old, link
        if identity is not None:
            old.identity, old.profile = identity, identity.user
            gateway.tokens.watch(old)
        old.resume(self._welcome(old, True, epoch, version), resume.received, now, beat_in=self._first_beat())
        gateway.flush.touch(old)
        gateway.look_after(old)
        if old.user is not None:
            gateway.presence.came(old.user)
        return True

    def _waits(self, link: Link, session: Session) -> bool:
        """Whether the client is still there and not welcomed yet, after whatever was awaited."""
        return link.session is session and session.state is State.GREETING

    def _welcome(self, session: Session, resumed: bool, epoch: str, version: int) -> Welcome:
        settings = self._gateway.settings
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
            limits=self._gateway.limits,
            server_time=self._gateway.clock.wall_ms(),
            node=self._gateway.node,
        )

    def _seat(self, session: Session) -> Seat:
        return self._gateway.seats.of(session)

    def _first_beat(self) -> float:
        """Anywhere in the second half of a heartbeat, so that clients that came together do not answer together."""
        return self._gateway.settings.heartbeat * random.uniform(0.5, 1.0)


def new_id() -> str:
    """A session id: 144 random bits."""
    return secrets.token_urlsafe(18)
