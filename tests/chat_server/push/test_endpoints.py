"""Where subscriptions may lead: to the services of the list, over HTTPS, and never inside."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest
from chat_common.clock import ManualClock
from chat_common.errors import Invalid
from chat_server.push.endpoints import Endpoints
from chat_server.push.settings import SERVICES

ENDPOINTS = Endpoints(SERVICES, ManualClock())


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://fcm.googleapis.com/fcm/send/abc:def", "https://fcm.googleapis.com"),
        ("https://updates.push.services.mozilla.com/wpush/v2/gA", "https://updates.push.services.mozilla.com"),
        ("https://web.push.apple.com/QGu", "https://web.push.apple.com"),
        ("https://wns2-par02p.notify.windows.com/w/?token=x", "https://wns2-par02p.notify.windows.com"),
        ("https://fcm.googleapis.com:443/x", "https://fcm.googleapis.com:443"),
    ],
)
def test_the_services_of_browsers_are_known(url: str, origin: str) -> None:
    read = ENDPOINTS.read(url)
    assert (read.url, read.origin) == (url, origin)


@pytest.mark.parametrize(
    "url",
    [
        None,
        "",
        "fcm.googleapis.com",
        "http://fcm.googleapis.com/x",
        "https://fcm.googleapis.com:8443/x",
        "https://fcm.googleapis.com.evil.example/x",
        "https://evilfcm.googleapis.com/x",
        "https://evilpush.apple.com/x",
        "https://push.apple.com/x",
        "https://fcm.googleapis.com@evil.example/x",
        "https://user:pw@fcm.googleapis.com/x",
        "https://evil.example\\@fcm.googleapis.com/x",
        "https://127.0.0.1/x",
        "https://[::1]/x",
        "https://[::1/x",
        "https://fcm.googleapis.com:x/",
        "https://fcm.googleapis.com/a b",
        "https://fcm.googleapis.com/\n",
        "https://ｆcm.googleapis.com/",
        "https://fcm.googleapis.com/" + "x" * 2_048,
        "file:///etc/passwd",
    ],
)
def test_nothing_else_is(url: Any) -> None:
    with pytest.raises(Invalid) as refused:
        ENDPOINTS.read(url)
    assert refused.value.field == "address"


async def test_a_name_of_the_list_that_leads_inside_is_not_called(monkeypatch: pytest.MonkeyPatch) -> None:
    said: dict[str, list[str]] = {}
    asked: list[str] = []

    async def lookup(host: str, port: int) -> Any:
        asked.append(host)
        if host not in said:
            raise socket.gaierror(-2, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in said[host]]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", lookup, raising=False)
    clock = ManualClock()
    endpoints = Endpoints(["*.example.org"], clock)
    for host, addresses, outside in (
        ("a.example.org", ["142.250.1.1"], True),
        ("b.example.org", ["142.250.1.1", "10.0.0.7"], False),
        ("c.example.org", ["169.254.169.254"], False),
        ("d.example.org", ["::ffff:127.0.0.1"], False),
    ):
        said[host] = addresses
        assert await endpoints.leads_outside(endpoints.read(f"https://{host}/x")) is outside, host
    with pytest.raises(OSError, match="not known"):
        await endpoints.leads_outside(endpoints.read("https://e.example.org/x"))
    asked.clear()
    said["a.example.org"] = ["127.0.0.1"]
    again = endpoints.read("https://a.example.org/x")
    assert await endpoints.leads_outside(again)
    assert asked == []
    clock.advance(301)
    assert not await endpoints.leads_outside(again)
