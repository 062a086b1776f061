from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog
from chat_server import logs


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield io.StringIO()
    root.handlers[:], root.level = handlers, level
    structlog.reset_defaults()


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_an_event_is_one_line_with_its_fields(stream: io.StringIO) -> None:
    logs.configure("info", "json", stream)
    structlog.get_logger("chat.test").info("stored", conversation="c", seq=3)
    structlog.get_logger("chat.test").debug("unheard")
    logging.getLogger("elsewhere").warning("an old %s", "style")
    first, second = lines(stream)
    assert (first["event"], first["seq"], first["level"], first["logger"]) == ("stored", 3, "info", "chat.test")
    assert (second["event"], second["level"]) == ("an old style", "warning")


def test_bodies_and_tokens_are_not_written(stream: io.StringIO) -> None:
    logs.configure("info", "json", stream)
    structlog.get_logger("chat.test").info("called", token="secret", body={"text": "secret"}, user="anna")
    assert "secret" not in stream.getvalue()
    assert lines(stream)[0]["user"] == "anna"


def test_an_exception_is_told_with_its_place(stream: io.StringIO) -> None:
    logs.configure("info", "json", stream)
    try:
        raise LookupError("not here")
    except LookupError as error:
        structlog.get_logger("chat.test").error("failed", exc_info=error)
    assert "LookupError: not here" in str(lines(stream)[0]["exception"])


def test_lines_for_people(stream: io.StringIO) -> None:
    logs.configure("warning", "console", stream)
    structlog.get_logger("chat.test").warning("slow", seconds=3)
    assert "slow" in stream.getvalue()
    assert "seconds=3" in stream.getvalue()


def failing(token: str) -> None:
    raise LookupError("not here")


@pytest.mark.parametrize("embedded", [False, True])
def test_a_traceback_for_people_shows_no_local_variables(
    stream: io.StringIO, monkeypatch: pytest.MonkeyPatch, embedded: bool
) -> None:
    if embedded:
        monkeypatch.setattr("sys.stdout", stream)
        logs.keep_locals_out()
    else:
        logs.configure("info", "console", stream)
    try:
        failing("sec" + "ret")
    except LookupError:
        structlog.get_logger("chat.test").exception("failed", token="secret")
    assert "LookupError: not here" in stream.getvalue()
    assert "secret" not in stream.getvalue()


def test_what_a_host_has_configured_stays(stream: io.StringIO) -> None:
    structlog.configure(processors=[structlog.processors.JSONRenderer()])
    before = structlog.get_config()
    logs.keep_locals_out()
    assert structlog.get_config() == before
