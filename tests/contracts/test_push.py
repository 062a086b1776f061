"""The push providers that come with the server, against the contract; and the contract against bad ones."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from chat_common.contracts.push import PushCheck, push_checks
from chat_common.memory.push import MemoryPush
from chat_common.ports.push import Address, Notification, Outcome, PushProvider, Result
from chat_server.push.webhook import WebhookPush
from chat_server.push.webpush import WebPush

from tests.chat_server.push.providers import web_push, webhook_push
from tests.standins.push_service import Browser, PushService, push_service
from tests.standins.vendor_bridge import VendorBridge, vendor_bridge


class MemoryStage:
    """`PushStage` of `MemoryPush`."""

    def __init__(self, provider: MemoryPush | None = None) -> None:
        self._memory = provider or MemoryPush()

    @property
    def provider(self) -> PushProvider:
        return self._memory

    def address(self, device: str, result: Result = Result.DELIVERED, retry_after: float | None = None) -> Address:
        self._memory.answers[device] = [Outcome(result, retry_after)]
        return Address(device, {})

    def broken(self, device: str) -> Address:
        return self.address(device, Result.REFUSED)

    def told(self, device: str) -> Sequence[tuple[str, str, str, int]]:
        return [(one.title, one.text, one.conversation, one.seq) for at, one in self._memory.sent if at == device]


@pytest.mark.parametrize("check", push_checks(), ids=lambda check: check.__name__)
async def test_memory(check: PushCheck) -> None:
    await check(MemoryStage())


class WebPushStage:
    """`PushStage` of `WebPush`: browsers that have subscribed at a stand-in of a push service."""

    def __init__(self, provider: WebPush, service: PushService) -> None:
        self._provider, self._service = provider, service
        self._browsers: dict[str, Browser] = {}

    @property
    def provider(self) -> PushProvider:
        return self._provider

    def address(self, device: str, result: Result = Result.DELIVERED, retry_after: float | None = None) -> Address:
        statuses = {Result.DELIVERED: 201, Result.GONE: 410, Result.LATER: 429, Result.REFUSED: 400}
        headers = {} if retry_after is None else {"retry-after": f"{retry_after:.0f}"}
        self._browsers[device] = browser = self._service.browser()
        browser.always = (statuses[result], headers)
        return Address(device, browser.subscription())

    def broken(self, device: str) -> Address:
        return Address(device, {"endpoint": "http://[::1", "keys": {"p256dh": "B", "auth": 7}})

    def told(self, device: str) -> Sequence[tuple[str, str, str, int]]:
        shown = [one.payload["notification"] for one in self._browsers[device].received]
        return [(one["title"], one["body"], one["data"]["conversation"], one["data"]["seq"]) for one in shown]


async def test_webpush() -> None:
    async with push_service() as service, web_push(service) as provider:
        for check in push_checks():
            await check(WebPushStage(provider, service))
    assert service.refused == []


class WebhookStage:
    """`PushStage` of `WebhookPush`: a program that verifies with the library of those who specified the signatures."""

    def __init__(self, provider: WebhookPush, receiver: VendorBridge) -> None:
        self._provider, self._receiver = provider, receiver

    @property
    def provider(self) -> PushProvider:
        return self._provider

    def address(self, device: str, result: Result = Result.DELIVERED, retry_after: float | None = None) -> Address:
        self._receiver.answers[device] = {"result": result.value, "retry_after": retry_after}
        return Address(device, {"vendor": "getui", "token": device})

    def broken(self, device: str) -> Address:
        return self.address(device, Result.REFUSED)

    def told(self, device: str) -> Sequence[tuple[str, str, str, int]]:
        shown = self._receiver.told.get(device, [])
        return [(one["title"], one["text"], one["conversation"], one["seq"]) for one in shown]


async def test_webhook() -> None:
    async with vendor_bridge() as receiver, webhook_push(receiver) as provider:
        for check in push_checks():
            receiver.told.clear()
            await check(WebhookStage(provider, receiver))


class Swapped(MemoryPush):
    """Answers in the wrong order."""

    async def send(self, notification: Notification, addresses: Sequence[Address]) -> Sequence[Outcome]:
        return list(await super().send(notification, addresses))[::-1]


class Stopping(MemoryPush):
    """Stops at the first address that fails."""

    async def send(self, notification: Notification, addresses: Sequence[Address]) -> Sequence[Outcome]:
        outcomes: list[Outcome] = []
        for address in addresses:
            outcomes += await super().send(notification, [address])
            if outcomes[-1].result is not Result.DELIVERED:
                break
        return outcomes


class Deaf(MemoryPush):
    """Says that all went well, and never when to come again."""

    async def send(self, notification: Notification, addresses: Sequence[Address]) -> Sequence[Outcome]:
        await super().send(notification, addresses)
        return [Outcome(Result.DELIVERED)] * len(addresses)


@pytest.mark.parametrize(
    ("bad", "found_by"),
    [
        (Swapped, {"a_broken_address_loses_no_neighbour", "outcomes_come_in_the_order_of_the_addresses"}),
        (Stopping, {"a_broken_address_loses_no_neighbour", "outcomes_come_in_the_order_of_the_addresses"}),
        (Deaf, {"a_dead_address_is_gone", "later_says_when", "a_broken_address_loses_no_neighbour"}),
    ],
)
async def test_the_contract_finds_bad_ones(bad: type[MemoryPush], found_by: set[str]) -> None:
    found = set()
    for check in push_checks():
        try:
            await check(MemoryStage(bad()))
        except (AssertionError, ValueError, IndexError):
            found.add(check.__name__)
    assert found & found_by
    assert "nobody_is_asked_for_nothing" not in found
