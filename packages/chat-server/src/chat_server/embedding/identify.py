"""``identify=``: the application says for each request whose it is, so that there is no second login."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable

from attrs import field, frozen
from chat_common.errors import NotPermitted
from starlette.requests import HTTPConnection

from chat_server.embedding.people import People, ProfileOf


@frozen
class Person:
    """Somebody of the application's: ``subject`` is the application's id, see `Server.ensure_user` for the rest."""

    subject: str
    name: str | None = None
    avatar: str | None = None
    always: bool = field(default=False, kw_only=True)
    """Whether name and picture follow the application at each request, not only when the user is made."""


Named = Person | str | None
Identify = Callable[[HTTPConnection], Named | Awaitable[Named]]
"""Returns whose request or WebSocket this is: the application's id, a `Person`, or None for nobody."""


class Vouched:
    """Asks the application, and finds or makes the user. What the application raises goes on to its own server."""

    def __init__(self, identify: Identify, people: People) -> None:
        self._identify = identify
        self._people = people

    async def __call__(self, connection: HTTPConnection) -> str | None:
        """The id of the chat's user; None: nobody. `NotPermitted`: banned. `Invalid`: no id of a person."""
        named = self._identify(connection)
        if inspect.isawaitable(named):
            named = await named
        if named is None:
            return None
        who = named if isinstance(named, Person) else Person(named)
        standing = await self._people.standing(who.subject)
        if standing is not None and standing.banned:
            raise NotPermitted("This account is banned.", reason="banned")
        if standing is not None and not who.always:
            return standing.user
        profile: ProfileOf = "always" if who.always else "new"
        return (await self._people.user_of(who.subject, who.name, who.avatar, profile, "app")).user
