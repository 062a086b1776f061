"""What a server in this process has logged."""

from __future__ import annotations

import logging

import pytest


def listen(caplog: pytest.LogCaptureFixture) -> None:
    """Keep all that our packages log from here on, whatever its level."""
    caplog.set_level(logging.DEBUG, logger="chat")


def logged(caplog: pytest.LogCaptureFixture) -> str:
    """All of it, tracebacks too; not the logs of test clients and stand-ins, whose business secrets are."""
    return "\n".join(caplog.handler.format(record) for record in caplog.records if record.name.startswith("chat"))
