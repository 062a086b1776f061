"""The push provider ``webhook``: what another program is told, and what its answers mean."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
from attrs import evolve
from chat_common.contracts.push import note
from chat_common.ports.push import Address, Outcome, Result
from chat_common.settings import SetupError
from chat_server.moderation.settings import WebhookSettings
from chat_server.push.webhook import WebhookPush
from chat_server.signing import signer

from tests.chat_server.moderation.receiver import OTHER, SECRET
from tests.chat_server.push.providers import webhook_push
from tests.chat_server.transports.serving import serving
from tests.standins.vendor_bridge import vendor_bridge

EXAMPLE = Path(__file__).parents[3] / "examples" / "push" / "bridge.py"
TWO = [Address("d1", {"token": "t1"}), Address("d2", {"token": "t2"})]


async def test_an_answer_that_is_none_loses_no_address_and_is_asked_again_under_the_same_id() -> None:
    async with vendor_bridge() as bridge, webhook_push(bridge) as provider:
        for status, body, said in (
            (404, b"", Outcome(Result.LATER, None, "status 404")),
            (401, b"", Outcome(Result.LATER, None, "status 401")),
            (503, b"", Outcome(Result.LATER, 30.0, "status 503")),
            (200, b"{}", Outcome(Result.LATER, None, "The answer is not of the form expected.")),
            (200, b'{"outcomes": [{"result": "sent"}, {"result": "sent"}]}', None),
            (200, b'{"outcomes": [{"result": "gone"}]}', None),
            (200, b"<html>", None),
        ):
            bridge.status, bridge.body = status, body
            bridge.headers = {"retry-after": "30"} if status == 503 else {}
            expected = said or Outcome(Result.LATER, None, "The answer is not of the form expected.")
            assert list(await provider.send(evolve(note(), ttl=60 + status), TWO)) == [expected] * 2
        bridge.status, bridge.body = 200, b""
        assert [each.result for each in await provider.send(note(), TWO)] == [Result.DELIVERED] * 2
        assert len(set(bridge.ids)) == 1
        await provider.send(note(seq=8), TWO)
        assert len(set(bridge.ids)) == 2


async def test_another_key_is_refused_by_the_other_program() -> None:
    async with vendor_bridge() as bridge, webhook_push(bridge) as provider:
        provider._signer = signer(WebhookSettings(secret=OTHER))
        assert [each.reason for each in await provider.send(note(), TWO)] == ["status 401"] * 2
        assert bridge.told == {}


def test_an_address_that_is_none_stops_the_start() -> None:
    for url in ("ftp://a", "http://", "http://u:p@a/"):
        with pytest.raises(SetupError, match="url"):
            WebhookPush(url, None, None)  # type: ignore[arg-type]


async def test_the_example_tells_and_says_which_address_is_gone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CHAT_PUSH_SECRET", SECRET)
    async with serving(_example().app) as (_, port), vendor_bridge() as bridge:
        bridge.url = f"http://127.0.0.1:{port}/"
        async with webhook_push(bridge) as provider:
            tokens = ["one", "gone", None, "two"]
            found = await provider.send(note(), [Address("d", {"vendor": "getui", "token": it}) for it in tokens])
    gone = Result.GONE
    assert [each.result for each in found] == [Result.DELIVERED, gone, gone, Result.DELIVERED]
    assert capsys.readouterr().err.splitlines() == [
        'one: Ada & "Bob" 你好: Shall we? (chat://c1/7)',
        'two: Ada & "Bob" 你好: Shall we? (chat://c1/7)',
    ]


def _example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bridge", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
