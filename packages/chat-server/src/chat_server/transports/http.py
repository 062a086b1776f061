"""HTTP: uvicorn's protocol over httptools, with a bound on what a request's head may take and how long all may last.

What a handler does with a request is its own time; here is what a peer may do without one: send a head, or half of
one, or nothing; go on sending a body that nobody reads; take nothing of the answer.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import httptools
from chat_common.errors import ChatError, Invalid
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from chat_server.transports.admission import Admission
from chat_server.transports.errors import HeadTooLarge, TimedOut

PIECE = 4_096
"""Bytes that are read at once of a head, so that its end is noticed in time."""
PIPELINED = 16
"""Requests of one connection that may wait for the one before."""
FAREWELL = 1.0
"""Seconds that somebody who is turned away gets to read why; without them the kernel takes the answer back."""
FAREWELLS = 64
"""How many get them at once; beyond it they are dropped without an answer, since each holds a descriptor."""


class HttpTransport:
    """What uvicorn's ``http=`` calls to make a protocol for each connection."""

    def __init__(self, admission: Admission) -> None:
        self.admission = admission
        self.farewells = 0

    def __call__(self, **given: Any) -> HttpConnection:
        return HttpConnection(self, **given)


class HttpConnection(HttpToolsProtocol):
    """One connection, until it becomes a WebSocket."""

    def __init__(self, transport: HttpTransport, **given: Any) -> None:
        super().__init__(**given)
        self.logger = _logger
        self._with = transport
        self._settings = transport.admission.settings
        self.timeout_keep_alive = math.ceil(self._settings.keep_alive)
        self._in_head = True
        self._in_body = False
        self._head = 0
        self._silent = True
        self._upgraded = False
        self._stalled = False
        self._refusal: ChatError | None = None
        self._over = False
        self._deadline = math.inf
        self._timer: asyncio.TimerHandle | None = None
        self._at_deadline: Callable[[], None] = self._drop

    # --- called by the loop ---

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        refused = self._with.admission.enter(self._host)
        if refused is not None:
            self._refuse(refused)
        else:
            self._until(self._settings.head_timeout, self._head_late)

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        if self._over:
            return
        self._silent = False
        if not self._in_head and not self._in_body and self._answered:
            # Something comes after a while of silence: even if it is no more than an empty line, a head has begun.
            self._begin_head()
        at = 0
        while at < len(data) and not self._over and not self._upgraded and self.parser is not None:
            piece = data[at : at + PIECE] if self._in_head else data[at:]
            at += len(piece)
            began_in = self._in_head
            self._feed(piece)
            if began_in and self._in_head:
                self._head += len(piece)
                if self._head > self._settings.head_bytes:
                    self._head_too_large("bytes", self._settings.head_bytes)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._over:
            self._with.farewells -= 1
        self._with.admission.leave(self._host)
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._deadline = math.inf
        self._until(self._settings.write_timeout, self._drop)
        self._stalled = True

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stalled = False
        if self._in_head and self._answered and not self._over:
            self._until(self._settings.head_timeout, self._head_late)
        self._rest()

    # --- called by the parser ---

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if not self._in_head:
            self._begin_head()

    def on_header(self, name: bytes, value: bytes) -> None:
        if len(self.headers) >= self._settings.head_fields:
            self._refusal = HeadTooLarge(
                f"The request has more than {self._settings.head_fields} header fields.",
                limit=self._settings.head_fields,
            )
            raise self._refusal
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._in_head, self._in_body = False, True
        if len(self.pipeline) >= PIPELINED:
            self._refusal = Invalid(
                f"At most {PIPELINED} requests may wait behind one that is being answered.", limit=PIPELINED
            )
            raise self._refusal
        super().on_headers_complete()
        self._rest()

    def on_message_complete(self) -> None:
        self._in_body = False
        super().on_message_complete()
        self._rest()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._rest()

    # --- inside ---

    @property
    def _host(self) -> str | None:
        return self.client[0] if self.client else None

    @property
    def _answered(self) -> bool:
        return self.cycle is None or (self.cycle.response_complete and not self.pipeline)

    def _feed(self, piece: bytes) -> None:
        try:
            self.parser.feed_data(piece)
        except httptools.HttpParserUpgrade:
            if self._should_upgrade():
                self._upgraded = True
                if self._timer is not None:
                    self._timer.cancel()
                # The WebSocket that it becomes counts itself.
                self._with.admission.leave(self._host)
                self.handle_websocket_upgrade()
            else:
                self._with.admission.refusals.note("upgrade", peer=self._host)
        except httptools.HttpParserError:
            refused = self._refusal or Invalid("This is not a valid HTTP/1.1 request.")
            self._with.admission.refusals.note("http", peer=self._host, why=refused.message)
            self._refuse(refused)

    def _begin_head(self) -> None:
        self._in_head, self._head = True, 0
        if self._answered:
            self._until(self._settings.head_timeout, self._head_late)

    def _rest(self) -> None:
        """What is waited for now, and how long."""
        if self._over or self._upgraded or self._in_head:
            return
        if not self._answered:
            self._until(math.inf, self._drop)
        elif self._in_body:
            self._until(self._settings.body_timeout, self._drop)
        else:
            self._until(self._settings.keep_alive, self._drop)

    def _until(self, seconds: float, then: Callable[[], None]) -> None:
        """From now on only the last of these counts. The timer is set again when it rings too early.

        While the peer takes nothing, only that counts: asking for more must not give it more time.
        """
        if self._stalled:
            return
        self._at_deadline = then
        self._deadline = self.loop.time() + seconds
        if seconds == math.inf:
            return
        if self._timer is not None:
            if self._timer.when() <= self._deadline:
                return
            self._timer.cancel()
        self._timer = self.loop.call_at(self._deadline, self._ring)

    def _ring(self) -> None:
        self._timer = None
        if self.loop.time() >= self._deadline:
            self._deadline = math.inf
            self._at_deadline()
        elif self._deadline != math.inf:
            self._timer = self.loop.call_at(self._deadline, self._ring)

    def _drop(self) -> None:
        if self._stalled:
            self._with.admission.refusals.note("takes_nothing", peer=self._host)
            self.transport.abort()
        else:
            self.transport.close()

    def _head_late(self) -> None:
        if self._silent:
            # Browsers open connections in advance: this is one that was not needed.
            self.transport.close()
            return
        seconds = self._settings.head_timeout
        self._with.admission.refusals.note("head_timeout", peer=self._host)
        self._refuse(TimedOut(f"the head of the request was not complete within {seconds:g} s"))

    def _head_too_large(self, what: str, limit: int) -> None:
        self._with.admission.refusals.note("head_too_large", peer=self._host, what=what)
        self._refuse(HeadTooLarge(f"The head of the request is larger than {limit} {what}.", limit=limit))

    def _refuse(self, error: ChatError) -> None:
        """Answer, and close. A request before it that is not answered yet gets no answer any more."""
        self._over = True
        self._with.farewells += 1
        if self.cycle is not None:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if self._with.farewells > FAREWELLS or self._stalled or not self._answered:
            self.transport.abort()
            return
        self.transport.write(answer(error))
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._until(FAREWELL, self.transport.abort)


def answer(error: ChatError) -> bytes:
    """The whole HTTP answer to what never became a request: the same body as an `error` frame's."""
    body = json.dumps(error.as_dict()).encode()
    lines = [
        f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}",
        "content-type: application/json",
        f"content-length: {len(body)}",
        "cache-control: no-store",
        "connection: close",
    ]
    if error.retry_after is not None:
        lines.append(f"retry-after: {math.ceil(error.retry_after)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


_logger = logging.getLogger("uvicorn.error")
