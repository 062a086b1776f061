"""A node that sends itself something on the way of messages notices when it does not come."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx2
from chat_server.canary import Canary, CanarySettings
from chat_server.http import status
from chat_server.server import Server


async def test_it_comes_back_over_the_outbox_and_the_router_and_its_loss_is_an_alarm(
    tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr(status, "FRESH", 0.0)
    settings = {"server": {"data": str(tmp_path)}, "canary": {"patience": 60.0}, "http": {"metrics": "open"}}
    async with Server(settings=settings, environ={}) as server:
        canary = server.canary
        transport = httpx2.ASGITransport(server.app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as web:
            assert await canary.sing()
            assert 0 < canary.latency < 60
            assert "alarm" not in (await web.get("/readyz")).json()
            canary._settings.patience = 0.0
            assert not await canary.sing()
            ready = await web.get("/readyz")
            assert (ready.status_code, "has not come" in ready.json()["alarm"]) == (200, True)
            assert "chat_canary_lost 1.0" in (await web.get("/metrics")).text
            canary._settings.patience = 60.0
            assert await canary.sing()
            assert "alarm" not in (await web.get("/readyz")).json()
            assert canary.lost == 1


def test_a_server_that_is_alone_sends_none_and_a_setting_turns_it_off() -> None:
    def contributed(every: float, alone: bool) -> tuple[int, int]:
        nothing: Any = None
        canary = Canary(CanarySettings(every=every), nothing, nothing, nothing, "a", "b", nothing, alone)
        given = canary.contributions()
        return len(given.consumers), len(given.tasks)

    assert contributed(30.0, False) == (1, 1)
    assert contributed(30.0, True) == (1, 0), "it carries those of others, should there be any"
    assert contributed(0.0, False) == (0, 0)
