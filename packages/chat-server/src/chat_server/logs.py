"""Structured logs: an event and its fields, one line each. Never a body, never a token, never what stands behind the
``?`` of an address: there are the codes, states and secrets of logins, and the signatures of links."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any, Literal, TextIO

import structlog
from attrs import frozen
from chat_common.settings import setting

HIDDEN = frozenset({"authorization", "body", "data", "params", "password", "payload", "secret", "text", "token"})
"""Fields that are not written, whoever passes them."""

_QUERY = re.compile(r"(/[^\s/?\"'<>\\]*\?)[^\s\"'<>\\]+")
_NAME_ADDRESSES = ("httpx2", "uvicorn.access")
"""Libraries that write down the address of each request: those that we answer, and those that we make."""
_READ_ALOUD = ("httpcore2", "urllib3", "websockets")
"""Libraries that write down heads and frames, tokens among them, when they are asked for details."""


def without_queries(text: str) -> str:
    """The text with ``…`` for what stands behind the question mark of each address or path in it."""
    return _QUERY.sub(r"\1…", text) if "?" in text else text


def _keep_queries_out(record: logging.LogRecord) -> bool:
    """A filter of the standard library: the record, with its arguments shortened, passes."""
    if isinstance(record.args, tuple):
        record.args = tuple(arg if isinstance(arg, int | float) else without_queries(str(arg)) for arg in record.args)
    record.msg = without_queries(str(record.msg))
    return True


def _tame_others(level: int) -> None:
    """Whoever else writes into our log, or into that of the host, keeps the same rules."""
    for name in _NAME_ADDRESSES:
        logging.getLogger(name).addFilter(_keep_queries_out)  # Added once, however often this is called.
    for name in _READ_ALOUD:
        logging.getLogger(name).setLevel(max(logging.INFO, level))


@frozen(kw_only=True)
class LogSettings:
    """Section ``[log]``."""

    level: Literal["debug", "info", "warning", "error"] = setting("info", help="What is written at least.")
    style: Literal["auto", "console", "json"] = setting(
        "auto", help="auto: lines for people on a terminal, JSON elsewhere."
    )


def configure(
    level: str = "info", style: Literal["auto", "console", "json"] = "auto", stream: TextIO | None = None
) -> None:
    """Send structlog's events and the standard library's records to ``stream`` (default: standard error).

    ``auto``: coloured lines on a terminal, JSON elsewhere. A host that embeds the server does not call this.
    """
    out = stream or sys.stderr
    console = style == "console" or (style == "auto" and out.isatty())
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        hide,
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    last: list[Any] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta]
    if console:
        last.append(_lines(colors=out.isatty()))
    else:
        last += [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(ensure_ascii=False)]
    last.append(lambda logger, method, line: without_queries(line))  # Exceptions name addresses too.
    handler = logging.StreamHandler(out)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=last))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logger = logging.getLogger(name)
        logger.handlers[:] = []
        logger.propagate = True
    # These narrate their own start and end; what matters of it we say ourselves.
    for name in ("uvicorn.error", "alembic"):
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLevelName(level.upper())))
    _tame_others(logging.getLevelName(level.upper()))


def hide(logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A structlog processor: what must not be written becomes ``***``."""
    for key in HIDDEN & event.keys():
        event[key] = "***"
    return event


def into_the_host() -> None:
    """For a server inside a host: other libraries' lines without queries; and where the host has not configured
    structlog, events go to the standard library's loggers, ``chat.…``, as ``event key=value``."""
    for name in _NAME_ADDRESSES:
        logging.getLogger(name).addFilter(_keep_queries_out)
    if not structlog.is_configured():
        structlog.configure(
            processors=[
                structlog.stdlib.filter_by_level,
                structlog.contextvars.merge_contextvars,
                structlog.processors.StackInfoRenderer(),
                hide,
                _as_record,
            ],
            logger_factory=structlog.stdlib.LoggerFactory(),
            wrapper_class=structlog.stdlib.BoundLogger,
        )


def _as_record(logger: Any, method: str, event: MutableMapping[str, Any]) -> tuple[tuple[str], dict[str, Any]]:
    """The arguments of a call of a standard logger. Handlers find the fields by themselves as ``record.chat``."""
    passed: dict[str, Any] = {key: event.pop(key) for key in ("exc_info", "stack_info", "stacklevel") if key in event}
    stack = event.pop("stack", None)
    name = str(event.pop("event", ""))
    fields = "".join(f" {key}={value!r}" for key, value in event.items())
    said = without_queries(f"{name}{fields}" + (f"\n{stack}" if stack else ""))
    return (said,), {**passed, "extra": {"chat": {"event": name, **event}}}


def _lines(*, colors: bool) -> structlog.dev.ConsoleRenderer:
    """Lines for people. structlog's own tracebacks show the local variables of each frame where `rich` is installed:
    bodies and tokens among them, and half a second each, for which the event loop stands still."""
    return structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=structlog.dev.plain_traceback)
