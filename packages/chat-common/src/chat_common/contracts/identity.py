"""What every `DirectIdentity` and every `TicketIdentity` must hold: run each of the checks with an open one.

::

    @pytest.mark.parametrize("check", ticket_checks(), ids=lambda check: check.__name__)
    async def test_contract(check):
        await check(MyPlatform(...))

    @pytest.mark.parametrize("check", direct_checks(), ids=lambda check: check.__name__)
    async def test_contract(check):
        people = [{"name": "ada", "password": "…"}, {"name": "bob", "password": "…"}]
        await check(Direct(MyDirectory(...), people, wrong=[{"name": "ada", "password": "no"}]))
"""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import attrs
import msgspec
from attrs import frozen

from chat_common.errors import NotAuthenticated
from chat_common.ports.identity import Attempt, DirectIdentity, IdentityProvider, Proof, TicketIdentity, Waiting

URL_CHARS = 2_048
SUBJECT_CHARS = 255
RESERVED = frozenset({"device", "replace"})
"""Fields that the server adds to the credentials."""


@frozen
class Direct:
    """A provider with credentials of at least two people, and some that are wrong."""

    provider: DirectIdentity
    people: Sequence[Mapping[str, Any]]
    wrong: Sequence[Mapping[str, Any]]


TicketCheck = Callable[[TicketIdentity], Awaitable[None]]
DirectCheck = Callable[[Direct], Awaitable[None]]


def ticket_checks() -> Sequence[TicketCheck]:
    """Return all checks of a `TicketIdentity`, in no order that matters."""
    return [it_is_of_one_kind, a_link_leads_somewhere, logins_do_not_mix]


def direct_checks() -> Sequence[DirectCheck]:
    """Return all checks of a `DirectIdentity`, in no order that matters."""
    return [
        it_is_direct,
        its_credentials_are_read_from_the_wire,
        a_person_is_the_same_each_time,
        wrong_credentials_prove_nobody,
        people_do_not_mix,
    ]


# --- tickets ---------------------------------------------------------------------------------------------------------


def _somebody(name: str = 'a "screen" & <more>') -> Waiting:
    return Waiting(secrets.token_urlsafe(16), "d1", name, "web", "192.0.2.7", 1_800_000_000_000)


def _named(provider: IdentityProvider) -> None:
    assert re.fullmatch(r"[a-z][a-z0-9_]{0,31}", provider.name), provider.name
    assert provider.title.strip()
    assert len(provider.title) <= 64


async def it_is_of_one_kind(provider: TicketIdentity) -> None:
    """A name as clients may say it, a title for people, and tickets alone."""
    _named(provider)
    assert isinstance(provider, TicketIdentity)
    assert not isinstance(provider, DirectIdentity), "it is a direct login as well: make two providers of it"


async def a_link_leads_somewhere(provider: TicketIdentity) -> None:
    """An absolute address whatever the waiting device calls itself, good for some time."""
    for waiting in (_somebody(), _somebody("手机"), Waiting(secrets.token_urlsafe(16), None, None, None, None, 1)):
        link = await provider.begin(waiting)
        assert len(link.url) <= URL_CHARS
        assert urlsplit(link.url).scheme
        assert link.url.isascii()
        assert re.search(r"[\s<>\"]", link.url) is None, link.url
        assert 0 < link.lifetime <= 900


async def logins_do_not_mix(provider: TicketIdentity) -> None:
    """Many at once, each with a link of its own."""
    links = await asyncio.gather(*(provider.begin(_somebody()) for _ in range(20)))
    assert len({link.url for link in links}) == 20


# --- credentials -----------------------------------------------------------------------------------------------------


async def it_is_direct(subject: Direct) -> None:
    """A name as clients may say it, a title for people, and credentials alone."""
    _named(subject.provider)
    assert isinstance(subject.provider, DirectIdentity)
    assert not isinstance(subject.provider, TicketIdentity), "it gives tickets as well: make two providers of it"


async def its_credentials_are_read_from_the_wire(subject: Direct) -> None:
    """An attrs class that msgspec reads, without the fields that the server adds."""
    kind = subject.provider.credentials
    assert attrs.has(kind)
    assert not RESERVED & {each.name for each in attrs.fields(kind)}
    for given in (*subject.people, *subject.wrong):
        assert isinstance(_credentials(subject, given), kind)


async def a_person_is_the_same_each_time(subject: Direct) -> None:
    """The same credentials prove the same subject, of this provider, with a name to begin with."""
    for given in subject.people:
        first, second = [await _prove(subject, given) for _ in range(2)]
        assert (first.provider, first.subject) == (second.provider, second.subject)
        assert first.provider == subject.provider.name
        assert 0 < len(first.subject) <= SUBJECT_CHARS
        assert first.name.strip()


async def wrong_credentials_prove_nobody(subject: Direct) -> None:
    """`NotAuthenticated`, with the same words whatever was wrong."""
    said = set()
    for given in subject.wrong:
        try:
            proof = await _prove(subject, given)
        except NotAuthenticated as error:
            said.add(error.message)
        else:
            raise AssertionError(f"wrong credentials have proven {proof.subject!r}")
    assert len(said) <= 1, f"the answers tell what was wrong: {said}"


async def people_do_not_mix(subject: Direct) -> None:
    """Many at once, each proven as who they are."""
    alone = [await _prove(subject, given) for given in subject.people]
    assert len({proof.subject for proof in alone}) == len(subject.people)
    together = await asyncio.gather(*(_prove(subject, given) for given in subject.people))
    assert [proof.subject for proof in together] == [proof.subject for proof in alone]


def _credentials(subject: Direct, given: Mapping[str, Any]) -> Any:
    return msgspec.convert(given, subject.provider.credentials)


async def _prove(subject: Direct, given: Mapping[str, Any]) -> Proof:
    return await subject.provider.prove(_credentials(subject, given), Attempt("192.0.2.7", "d1"))
