"""On a busy machine a connection takes long: nothing here is about how long one waits for it."""

from __future__ import annotations

import pytest
from chat_server.rpc import link


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link, "_CONNECT", 60.0)
