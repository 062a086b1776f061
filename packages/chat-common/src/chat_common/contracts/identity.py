"""What every `IdentityProvider` must hold: run each of `checks()` with an open one.

::

    @pytest.mark.parametrize("check", checks(), ids=lambda check: check.__name__)
    async def test_contract(check):
        await check(MyProvider(...))
"""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Awaitable, Callable, Sequence
from urllib.parse import urlsplit

from chat_common.errors import Invalid
from chat_common.ports.identity import IdentityProvider, Waiting

Check = Callable[[IdentityProvider], Awaitable[None]]
URL_CHARS = 2_048


def checks() -> Sequence[Check]:
    """All checks, in no order that matters."""
    return [it_has_a_name, a_link_leads_somewhere, logins_do_not_mix]


def _somebody(name: str = 'a "screen" & <more>') -> Waiting:
    return Waiting(secrets.token_urlsafe(16), "d1", name, "web", "192.0.2.7", 1_800_000_000_000)


async def it_has_a_name(provider: IdentityProvider) -> None:
    """A name as clients may say it, a title for people."""
    assert re.fullmatch(r"[a-z][a-z0-9_]{0,31}", provider.name), provider.name
    assert provider.title.strip()
    assert len(provider.title) <= 64


async def a_link_leads_somewhere(provider: IdentityProvider) -> None:
    """An absolute address whatever the waiting device calls itself; providers without tickets say so."""
    for waiting in (_somebody(), _somebody("手机"), Waiting(secrets.token_urlsafe(16), None, None, None, None, 1)):
        if not provider.tickets:
            try:
                await provider.begin(waiting)
            except Invalid:
                continue
            raise AssertionError("a provider without tickets has begun one")
        link = await provider.begin(waiting)
        assert len(link.url) <= URL_CHARS
        assert urlsplit(link.url).scheme
        assert link.url.isascii()
        assert re.search(r"[\s<>\"]", link.url) is None, link.url


async def logins_do_not_mix(provider: IdentityProvider) -> None:
    """Many at once, each with a link of its own."""
    if not provider.tickets:
        return
    links = await asyncio.gather(*(provider.begin(_somebody()) for _ in range(20)))
    assert len({link.url for link in links}) == 20
