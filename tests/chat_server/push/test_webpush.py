"""Web Push, against a stand-in of a push service: what it is asked, and what its answers mean."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from attrs import evolve
from chat_common.contracts.push import note
from chat_common.errors import Invalid
from chat_common.ports.push import Address, Result
from chat_server.push.calls import fitted
from chat_server.push.webpush import PAYLOAD_BYTES, Subscription, WebPush, encrypted, topic

from tests.chat_server.push.providers import web_push
from tests.faults_proxy import FaultsProxy
from tests.standins.push_service import Browser, decoded, push_service
from tests.support.waiting import until


async def test_a_message_is_signed_encrypted_and_short_and_replaces_the_one_before() -> None:
    async with push_service() as service, web_push(service, page="https://chat.example") as provider:
        browser = service.browser()
        address = Address("d1", browser.subscription())
        await provider.send(note("one"), [address])
        outcomes = await provider.send(evolve(note("你" * 5_000), ttl=60, urgent=False, seq=8), [address])
        assert [each.result for each in outcomes] == [Result.DELIVERED]
        (kept,) = browser.received
        assert (kept.ttl, kept.urgency, kept.topic) == (60, "normal", topic("c1"))
        assert PAYLOAD_BYTES - 5 <= len(kept.data) <= PAYLOAD_BYTES
        assert kept.payload["web_push"] == 8030
        shown = kept.payload["notification"]
        assert shown["navigate"] == "https://chat.example/#/c1"
        assert (shown["tag"], shown["data"]) == ("c1", {"conversation": "c1", "seq": 8})
        assert len(service.signatures) == 1, "a service sees one signature for half a day"
        assert service.refused == []


async def test_what_the_service_answers_is_what_becomes_of_the_address() -> None:
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    cases: list[tuple[int, dict[str, str], Result, float | None]] = [
        (200, {}, Result.DELIVERED, None),
        (404, {}, Result.GONE, None),
        (410, {}, Result.GONE, None),
        (429, {"retry-after": "7"}, Result.LATER, 7.0),
        (429, {"retry-after": "soon"}, Result.LATER, None),
        (500, {}, Result.LATER, None),
        (503, {"retry-after": "-1"}, Result.LATER, None),
        (400, {}, Result.REFUSED, None),
        (301, {"location": "http://127.0.0.1/"}, Result.REFUSED, None),
    ]
    async with push_service() as service, web_push(service) as provider:
        addresses = []
        for status, headers, _, _ in [*cases, (503, {"retry-after": soon}, None, None)]:
            browser = service.browser()
            browser.always = (status, headers)
            addresses.append(Address("d", browser.subscription()))
        outcomes = await provider.send(note(), addresses)
        assert [(it.result, it.retry_after) for it in outcomes[:-1]] == [(it[2], it[3]) for it in cases]
        assert outcomes[-1].retry_after == pytest.approx(90, abs=30)


async def test_what_is_too_large_for_a_service_is_sent_without_text() -> None:
    async with push_service() as service, web_push(service) as provider:
        browser = service.browser()
        browser.answers = [(413, {})]
        await provider.send(note("long"), [Address("d", browser.subscription())])
        assert browser.received[0].payload["notification"]["body"] == ""
        assert browser.received[0].payload["notification"]["title"] == note().title


async def test_a_service_that_is_slow_or_breaks_off_keeps_no_neighbour_waiting_for_long() -> None:
    async with push_service() as service, web_push(service, timeout=3.0) as provider:
        async with FaultsProxy(("127.0.0.1", int(service.url.rpartition(":")[2]))) as proxy:
            slow, broken, good = service.browser(), service.browser(), service.browser()
            slow.slow = 60.0
            through = broken.subscription()
            through["endpoint"] = through["endpoint"].replace(service.url, f"http://127.0.0.1:{proxy.port}")
            proxy.black_hole = True
            addresses = [
                Address("s", slow.subscription()),
                Address("b", through),
                Address("g", good.subscription()),
            ]
            sending = asyncio.create_task(provider.send(note(), addresses))
            await until(lambda: len(good.received) == 1 and proxy.open == 1)
            await proxy.down()
            found = await sending
        assert [each.result for each in found] == [Result.LATER, Result.LATER, Result.DELIVERED]
        assert found[0].reason == "no whole answer within 3 s"
        assert not any("127.0.0.1" in each.reason for each in found), "an address stands in no reason"
        slow.slow = 0.0
        assert [each.result for each in await provider.send(note(), addresses[:1])] == [Result.DELIVERED]


@pytest.mark.parametrize(
    "change",
    [
        {"keys": None},
        {"keys": {"p256dh": "", "auth": ""}},
        {"keys": {"p256dh": "B" * 87, "auth": "A" * 22}},
        {"keys": "x"},
        {"endpoint": None},
        {"endpoint": "gopher://127.0.0.1/"},
    ],
    ids=str,
)
async def test_what_no_browser_subscribes_with_is_refused_and_never_called(change: dict[str, Any]) -> None:
    async with push_service() as service, web_push(service) as provider:
        browser = service.browser()
        values = {**browser.subscription(), **change}
        with pytest.raises(Invalid) as refused:
            provider.check(values)
        assert refused.value.field == "address"
        (outcome,) = await provider.send(note(), [Address("d", values)])
        assert outcome.result is Result.GONE


def test_a_browser_reads_what_the_standard_gives_as_an_example() -> None:
    """The stand-in decrypts the example of RFC 8291, so that it does not merely agree with us."""
    from cryptography.hazmat.primitives.asymmetric import ec

    number = int.from_bytes(decoded("q1dXpw3UpT5VOmu_cf_v6ih07Aems3njxI-JWgLcM94"), "big")
    browser = Browser("", ec.derive_private_key(number, ec.SECP256R1()), decoded("BTBZMqHH6r4Tts7J_aSIgg"))
    body = decoded(
        "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN"
    )
    assert browser.read(body) == b"When I grow up, I want to be a watermelon"
    subscription = Subscription(endpoint=None, key=browser.public, secret=browser.secret)  # type: ignore[arg-type]
    assert browser.read(encrypted(b"and we the other way", subscription)) == b"and we the other way"


def test_a_topic_is_short_and_says_nothing() -> None:
    assert len(topic("c" * 100)) == 32
    assert topic("c1") != topic("c2")
    assert fitted(lambda text: text.encode(), "你好", 1) == b""


async def test_an_error_of_ours_at_one_address_is_that_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    async with push_service() as service, web_push(service) as provider:
        good, bad = service.browser(), service.browser()
        whole = WebPush._post

        async def failing(self: WebPush, subscription: Subscription, *others: Any) -> Any:
            if subscription.key == bad.public:
                raise RuntimeError("a bug")
            return await whole(self, subscription, *others)

        monkeypatch.setattr(WebPush, "_post", failing)
        async with asyncio.timeout(30):
            found = await provider.send(note(), [Address("b", bad.subscription()), Address("g", good.subscription())])
        assert [each.result for each in found] == [Result.LATER, Result.DELIVERED]
