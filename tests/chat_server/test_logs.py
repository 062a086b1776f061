from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
import structlog
from chat_server import logs


@pytest.fixture(autouse=True)
def told() -> Iterator[None]:
    """The lines of other libraries as at the start of a process: whoever makes a client of httpx2, or has run uvicorn
    without its access log, has silenced them."""
    loggers = [logging.getLogger(name) for name in ("httpx2", "uvicorn.access")]
    before = [(logger, logger.level, logger.propagate, logger.disabled) for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.NOTSET)
        logger.propagate, logger.disabled = True, False
    yield
    for logger, level, propagate, disabled in before:
        logger.setLevel(level)
        logger.propagate, logger.disabled = propagate, disabled


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


SECRETS = "code=c0de&state=st4te&secret=s3cret"


@pytest.mark.parametrize("style", ["json", "console"])
def test_no_address_is_written_with_its_query(stream: io.StringIO, style: Any) -> None:
    logs.configure("debug", style, stream)
    access = ("127.0.0.1:5", "GET", f"/auth/oidc/callback?{SECRETS}", "1.1", 302)
    logging.getLogger("uvicorn.access").info('%s - "%s %s HTTP/%s" %d', *access)
    logging.getLogger("httpx2").info("HTTP Request: %s %s", "GET", httpx2.URL(f"https://api.example/token?{SECRETS}"))
    logging.getLogger("elsewhere").warning(f"no answer from https://api.example/me?{SECRETS}")
    structlog.get_logger("chat.test").info("called", address=f"http://here/login?{SECRETS}", asked="what? nothing")
    try:
        raise LookupError(f"refused for url 'https://api.example/x?{SECRETS}'")
    except LookupError as error:
        structlog.get_logger("chat.test").error("failed", exc_info=error)
    logging.getLogger("websockets.server").debug('< TEXT \'{"op": "hello", "token": "s3cret"}\'')
    logging.getLogger("httpcore2.http11").debug("send_request_headers Authorization s3cret")
    written = stream.getvalue()
    assert not any(word in written for word in ("c0de", "st4te", "s3cret")), written
    for kept in ("/auth/oidc/callback?…", "api.example/token?…", "api.example/me?…", "here/login?…", "what? nothing"):
        assert kept in written
    assert "api.example/x?…" in written


def test_a_host_that_logs_by_itself_gets_no_query_either(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    logs.into_the_host()
    logging.getLogger("httpx2").info("HTTP Request: %s %s", "GET", httpx2.URL(f"https://api.example/token?{SECRETS}"))
    logging.getLogger("uvicorn.access").info('%s - "%s %s"', "::1", "GET", f"/auth/qq/callback?{SECRETS}")
    assert [record.getMessage() for record in caplog.records] == [
        "HTTP Request: GET https://api.example/token?…",
        '::1 - "GET /auth/qq/callback?…"',
    ]


def failing(token: str) -> None:
    raise LookupError("not here")


def test_a_traceback_for_people_shows_no_local_variables(stream: io.StringIO) -> None:
    logs.configure("info", "console", stream)
    try:
        failing("sec" + "ret")
    except LookupError:
        structlog.get_logger("chat.test").exception("failed", token="secret")
    assert "LookupError: not here" in stream.getvalue()
    assert "secret" not in stream.getvalue()


def test_in_a_host_events_go_to_the_loggers_of_the_standard_library(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.INFO, "chat")
    logs.into_the_host()
    log = structlog.get_logger("chat.test")
    log.debug("not asked for")
    log.warning("refused", reason="100 % full", times=2, token="secret", url="https://a.example/x?code=c0de")
    try:
        failing("sec" + "ret")
    except LookupError:
        log.exception("failed", task="sweep")
    warned, failed = caplog.records
    assert (warned.name, warned.levelname) == ("chat.test", "WARNING")
    assert warned.getMessage() == ("refused reason='100 % full' times=2 token='***' url='https://a.example/x?…'")
    assert warned.chat["times"] == 2  # type: ignore[attr-defined]
    assert failed.getMessage() == "failed task='sweep'"
    assert failed.exc_info is not None
    assert capsys.readouterr() == ("", "")


def test_what_a_host_has_configured_stays(stream: io.StringIO) -> None:
    structlog.configure(processors=[structlog.processors.JSONRenderer()])
    before = structlog.get_config()
    logs.into_the_host()
    assert structlog.get_config() == before
