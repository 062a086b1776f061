"""The identity providers that come with the server, against the contract; and the contract against bad ones."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from attrs import define
from chat_common.clock import ManualClock
from chat_common.contracts.identity import Direct, DirectCheck, TicketCheck, direct_checks, ticket_checks
from chat_common.errors import NotAuthenticated
from chat_common.memory.cache import MemoryCache
from chat_common.ports.identity import Attempt, Link, Proof, Waiting
from chat_server.auth.passwords import PasswordIdentity
from chat_server.auth.providers import DevIdentity, QrIdentity
from chat_server.auth.public_address import PublicAddress
from chat_server.auth.settings import AuthSettings
from chat_server.store.account_schema import identity
from chat_server.store.sqlite import open_sqlite

from tests.chat_server.house import migrated


@pytest.mark.parametrize("check", ticket_checks(), ids=lambda check: check.__name__)
async def test_qr(check: TicketCheck) -> None:
    await check(QrIdentity(PublicAddress("https://chat.example/", "0.0.0.0", 8080)))


@pytest.mark.parametrize("check", direct_checks(), ids=lambda check: check.__name__)
async def test_dev(check: DirectCheck) -> None:
    await check(Direct(DevIdentity(), [{"name": "ada"}, {"name": "bob"}], wrong=[]))


@pytest.fixture
async def passwords(tmp_path: Path) -> AsyncIterator[PasswordIdentity]:
    migrated(f"sqlite:///{tmp_path / 'chat.db'}")
    async with open_sqlite(tmp_path / "chat.db") as database:
        made = PasswordIdentity(database, MemoryCache(ManualClock()), AuthSettings(attempts=100))
        for name in ("Ada", "Bob"):
            secret = await made.hasher.hash(f"the password of {name}")
            row = {"provider": "password", "subject": name.lower(), "user": name, "secret": secret}
            await database.change(lambda connection, row=row: connection.execute(identity.insert(), row))
        yield made


@pytest.mark.parametrize("check", direct_checks(), ids=lambda check: check.__name__)
async def test_password(check: DirectCheck, passwords: PasswordIdentity) -> None:
    people = [{"name": name, "password": f"the password of {name}"} for name in ("Ada", "Bob")]
    wrong = [{"name": "Ada", "password": "the password of Bob"}, {"name": "nobody", "password": "the password of Ada"}]
    await check(Direct(passwords, people, wrong))


# --- the checks find what they are for -------------------------------------------------------------------------------


@define(kw_only=True)
class Badge:
    number: str


class Careless:
    """Proves everybody as whatever a subclass says."""

    name, title, credentials = "badge", "A badge", Badge

    async def prove(self, credentials: Badge, attempt: Attempt) -> Proof:
        return Proof("badge", credentials.number, "A person")


class Confused(Careless):
    async def prove(self, credentials: Badge, attempt: Attempt) -> Proof:
        return Proof("badge", "the same for all", "A person")


class Talkative(Careless):
    async def prove(self, credentials: Badge, attempt: Attempt) -> Proof:
        raise NotAuthenticated(f"{credentials.number} is wrong")


class Both(Careless):
    async def begin(self, waiting: Waiting) -> Link:
        return Link("https://chat.example/the-same")


@define(kw_only=True)
class Greedy:
    number: str
    device: str = ""


class Reserved(Careless):
    credentials: type[Any] = Greedy


@pytest.mark.parametrize(
    ("provider", "check"),
    [
        (Careless(), "wrong_credentials_prove_nobody"),
        (Confused(), "people_do_not_mix"),
        (Talkative(), "wrong_credentials_prove_nobody"),
        (Both(), "it_is_direct"),
        (Reserved(), "its_credentials_are_read_from_the_wire"),
    ],
)
async def test_a_bad_direct_login_is_found(provider: Careless, check: str) -> None:
    people = [{"number": "1"}, {"number": "2"}]
    (found,) = [each for each in direct_checks() if each.__name__ == check]
    with pytest.raises(AssertionError):
        await found(Direct(provider, people, wrong=[{"number": "3"}, {"number": "4"}]))


@pytest.mark.parametrize("check", ["it_is_of_one_kind", "logins_do_not_mix"])
async def test_a_bad_ticket_login_is_found(check: str) -> None:
    (found,) = [each for each in ticket_checks() if each.__name__ == check]
    with pytest.raises(AssertionError):
        await found(Both())
