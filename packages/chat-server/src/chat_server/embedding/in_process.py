"""What the application around the server calls in process."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from typing import Any

from attrs import frozen
from chat_common import wire
from chat_common.errors import Unavailable
from chat_common.records import Caller

from chat_server.embedding.asking import read_request
from chat_server.embedding.home import Home
from chat_server.embedding.people import People, ProfileOf
from chat_server.pipeline import Pipeline


@frozen
class Inside:
    """What the calls of an open server go to."""

    pipeline: Pipeline
    people: People
    issue_token: Callable[[str, str | None], Awaitable[str]]


class InProcess:
    """The face of `Server` for the application's own code, on the server's event loop. While it is closed every method
    raises `NotOpen`, from another event loop `WrongLoop`."""

    home: Home
    inside: Inside | None = None

    async def call(
        self, command: object, params: object = None, *, user: str | None = None, ref: str | None = None
    ) -> Any:
        """Run a client command in process, as ``user`` (None: a guest); the reply record, or a `ChatError`.

        ``command``: its name, with ``params`` as a mapping or the request record; or the request record alone, such as
        `SubmitMessage`, where it is one command's. It goes through the same pipeline as a client's. ``ref`` makes it
        idempotent; absent: a random one. `NotFound`: there is no such user.
        """
        inside = self._inside()
        name, plain = read_request(inside.pipeline.commands, command, params)
        if user is not None:
            await inside.people.require(user)
        caller = Caller(user, ref or secrets.token_urlsafe(16), origin="local")
        return await inside.pipeline.call(caller, name, plain)

    async def submit(self, message: Any, *, user: str, ref: str | None = None) -> wire.Receipt:
        """Say something as ``user``: a `SubmitMessage`, or a mapping of its fields; the receipt. See `call`."""
        receipt: wire.Receipt = await self.call("submit", message, user=user, ref=ref)
        return receipt

    async def ensure_user(
        self,
        subject: str,
        name: str | None = None,
        *,
        avatar: str | None = None,
        profile: ProfileOf = "new",
        provider: str = "app",
    ) -> wire.User:
        """The chat's user for somebody of the application's own, made at the first call.

        ``subject``: the application's id for the person, 1 to 255 characters. ``name``: what others see, at most 64
        characters; absent: the nearest to the id. ``avatar``: the address of a picture, ``https://…`` or ``/…`` on the
        application's own site. ``profile``: ``new`` takes name and picture of new users only, ``always`` follows the
        application at each call. `Invalid` names the field and the limit.
        """
        return await self._inside().people.user_of(subject, name, avatar, profile, provider)

    async def issue_token(self, user: str, device: str | None = None) -> str:
        """A token with which a client of this user says `hello`, for applications that log people in themselves.

        `NotFound`: there is no such user; `NotPermitted`: banned.
        """
        inside = self._inside()
        await inside.people.require(user)
        return await inside.issue_token(user, device)

    def _inside(self) -> Inside:
        self.home.check()
        if self.inside is None:
            raise Unavailable("This process has no rooms, see [server] roles: call in one that has.")
        return self.inside
