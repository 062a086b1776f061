"""Errors as HTTP answers: the same body as an `error` frame's, with its status."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import structlog
from chat_common.errors import ChatError, Internal
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

_log = structlog.get_logger("chat_server.http")


def error_answer(error: ChatError) -> Response:
    """``{code, message, field?, limit?, retry_after?}``; `Retry-After` in whole seconds where there is one."""
    headers = {}
    if error.retry_after is not None:
        headers["retry-after"] = str(math.ceil(error.retry_after))
    if error.status == 401:
        headers["www-authenticate"] = "Bearer"
    return JSONResponse(error.as_dict(), error.status, headers)


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, ChatError)
    return error_answer(error)


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = {404: "not_found", 405: "invalid", 413: "too_large"}.get(error.status_code, "invalid")
    text = error.detail
    if error.status_code == 405:
        text = f"only {(error.headers or {}).get('Allow', 'another method')} is answered here"
    return JSONResponse({"code": code, "message": text}, error.status_code, error.headers)


async def _broken(request: Request, error: Exception) -> Response:
    _log.error("request_failed", path=request.url.path, exc_info=error)
    return error_answer(Internal("The server failed to handle this request; the failure has been logged."))


HANDLERS: Mapping[Any, Any] = {ChatError: _refused, HTTPException: _http, Exception: _broken}
