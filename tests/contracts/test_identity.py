"""The identity providers that come with the server, against the contract."""

from __future__ import annotations

import pytest
from chat_common.contracts.identity import Check, checks
from chat_common.ports.identity import IdentityProvider
from chat_server.auth.providers import DEV, DirectIdentity, QrIdentity
from chat_server.auth.public_address import PublicAddress

PROVIDERS = [
    QrIdentity(PublicAddress("https://chat.example/", "0.0.0.0", 8080)),
    DirectIdentity("password", "Password"),
    DEV,
]


@pytest.mark.parametrize("provider", PROVIDERS, ids=lambda provider: str(provider.name))
@pytest.mark.parametrize("check", checks(), ids=lambda check: check.__name__)
async def test_contract(check: Check, provider: IdentityProvider) -> None:
    await check(provider)
