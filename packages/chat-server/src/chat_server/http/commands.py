"""``POST /api/{command}``: the same commands as over the WebSocket."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import msgspec
from chat_common.codec import MAX_DEPTH, Codec
from chat_common.codec.text import too_deep
from chat_common.errors import ChatError, Invalid, NotPermitted, TooLarge
from chat_common.records import Caller
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from chat_server.http.callers import Callers
from chat_server.http.errors import error_answer
from chat_server.pipeline import Pipeline
from chat_server.transports.errors import TimedOut
from chat_server.transports.origins import Origins, names_token

BODY_BYTES = 65_536
REF_CHARS = 64


class CommandEndpoint:
    """An ASGI application: body = params, bearer token = caller, ``Idempotency-Key`` = ref."""

    def __init__(
        self, pipeline: Pipeline, callers: Callers, codec: Codec, origins: Origins, body_timeout: float
    ) -> None:
        self._pipeline, self._callers, self._codec, self._origins = pipeline, callers, codec, origins
        self._body_timeout = body_timeout

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            response = await self._answer(request)
        except ChatError as error:
            response = error_answer(error)
        response.headers["cache-control"] = "no-store"
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        if names_token(request.url.query):
            raise Invalid("A token in the query string is not accepted. Send it in the header Authorization: Bearer.")
        refused = self._origins.refusal(request.headers.get("origin"), request.headers.get("host"))
        if refused is not None:
            raise NotPermitted(refused)
        command: str = request.path_params["command"]
        ref = _ref(request)
        caller = Caller(None, ref, origin="http", address=request.client.host if request.client else None)
        # An unknown command is told before anybody is asked for rights.
        if command in self._pipeline.commands:
            try:
                caller = await self._callers.of(request, caller)
            except ChatError:
                self._pipeline.charge(caller)
                raise
        self._pipeline.charge(caller, command)
        try:
            async with asyncio.timeout(self._body_timeout):
                params = await _body(request)
        except TooLarge:
            self._pipeline.refusals.note("body_too_large", command=command, address=caller.address)
            raise
        except TimeoutError:
            self._pipeline.refusals.note("body_timeout", command=command, address=caller.address)
            raise TimedOut(f"the body was not complete within {self._body_timeout:g} s") from None
        result = await self._pipeline.call(caller, command, msgspec.Raw(params))
        return Response(self._codec.encode(result), media_type="application/json")


def _ref(request: Request) -> str:
    ref = request.headers.get("idempotency-key")
    if ref is None:
        return uuid4().hex
    if not 1 <= len(ref) <= REF_CHARS:
        raise Invalid(f"Idempotency-Key: 1 to {REF_CHARS} characters", field="ref", limit=REF_CHARS)
    return ref


async def _body(request: Request) -> bytes:
    too_large = TooLarge(f"The body is larger than {BODY_BYTES} bytes.", limit=BODY_BYTES)
    length = request.headers.get("content-length", "0")
    if length.isdecimal() and int(length) > BODY_BYTES:
        raise too_large
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > BODY_BYTES:
            raise too_large
        parts.append(part)
    body = b"".join(parts)
    try:
        body.decode()
    except UnicodeDecodeError:
        raise Invalid("The body must be valid UTF-8.") from None
    # Params stand one level deep in a frame; the same params are refused here and there.
    if too_deep(body, MAX_DEPTH - 1):
        raise Invalid(f"JSON may be nested at most {MAX_DEPTH} deep, counted from the frame", limit=MAX_DEPTH)
    return body
