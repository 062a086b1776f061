"""``auth.NAME``: logging in with a `DirectIdentity`, whichever plugin brings it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from attrs import define, frozen
from chat_common import wire
from chat_common.errors import RateLimited
from chat_common.ports.cache import Cache
from chat_common.ports.identity import Attempt, DirectIdentity
from chat_common.records import Caller, Command

from chat_server.auth.devices import DeviceInfo, newcomer
from chat_server.auth.issue import Issuer
from chat_server.auth.logins import LoggedIn
from chat_server.auth.settings import AuthSettings
from chat_server.counting import allow_address_everywhere

Login = Callable[[Caller, Any], Awaitable[LoggedIn]]


def request_of(provider: DirectIdentity) -> type[Any]:
    """Return the request class of ``auth.NAME``: the provider's credentials, the device, and what it replaces."""
    words = "".join(part.title() for part in provider.name.split("_"))
    body = {
        "__annotations__": {"device": wire.Id | DeviceInfo | None, "replace": wire.Id | None},
        "__module__": __name__,
        "__doc__": "``device``: what logs in. ``replace``: a device or login to end, where there are too many.",
        "device": None,
        "replace": None,
    }
    return define(kw_only=True, slots=False)(type(f"LogIn{words}", (provider.credentials,), body))


@frozen
class DirectLogins:
    """Asks a provider, and gives the person a token."""

    cache: Cache
    settings: AuthSettings
    issuer: Issuer

    def command(self, provider: DirectIdentity) -> Command:
        """Return the command of this provider."""

        async def log_in(caller: Caller, request: Any) -> LoggedIn:
            device = newcomer(caller, request.device, request.replace)
            await self.admit(caller.address)
            proof = await provider.prove(request, Attempt(caller.address, device.device))
            return await self.issuer.log_in(proof, device)

        summary = f"Log in: {provider.title[:1].lower()}{provider.title[1:]}."
        return Command(
            f"auth.{provider.name}", request_of(provider), LoggedIn, log_in, callers="guests", summary=summary
        )

    async def admit(self, address: str | None) -> None:
        """Count an attempt from this address, over all providers; `RateLimited`: there were too many."""
        limit, period = 10 * self.settings.attempts, self.settings.attempts_period
        wait = await allow_address_everywhere(self.cache, "auth:direct", address, limit, period)
        if wait:
            raise RateLimited(f"Too many tries. Try again in {wait:.0f} seconds.", retry_after=round(wait, 3))
