"""Serves the links of the local store: an ASGI application with GET (Range, HEAD, ETag) and PUT."""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import parse_qsl

from attrs import define, frozen
from chat_common.clock import Clock
from chat_common.errors import ChatError
from chat_common.ports.objects import ObjectInfo, Scope

from chat_oss import tickets
from chat_oss.admission import Admission
from chat_oss.disk import Disk
from chat_oss.disposition import content_disposition, content_type
from chat_oss.folder import Draft
from chat_oss.tickets import BadTicket, Ticket

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

WRITE_BYTES = 512 * 1024
_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})", re.IGNORECASE)
_LENGTH = re.compile(r"[0-9]{1,18}")
_ALWAYS = {
    "x-content-type-options": "nosniff",
    # Whatever it is, it must not act as a page of this origin.
    "content-security-policy": "sandbox; default-src 'none'; img-src 'self'; media-src 'self'",
    # A link is all the permission there is; no cookie is looked at, so any origin may use one.
    "access-control-allow-origin": "*",
    "access-control-expose-headers": "ETag, Content-Range, Content-Length, Retry-After",
}
_CORS = {
    "access-control-allow-methods": "GET, HEAD, PUT",
    "access-control-allow-headers": "*",
    "access-control-max-age": "86400",
}


class Refused(Exception):
    """Answer with this status and line of text."""

    def __init__(self, status: int, text: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(text)
        self.status, self.text, self.headers = status, text, headers or {}


class Gone(Exception):
    """The client went away in the middle."""


@define
class Patience:
    """The moment until which more of a body is waited for: ``seconds`` after the last `renew`."""

    seconds: float
    until: float = 0.0

    def __attrs_post_init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        self.until = asyncio.get_running_loop().time() + self.seconds


@frozen
class Request:
    """One HTTP request: what of the ASGI scope matters here."""

    method: str
    key: str
    query: dict[str, str]
    headers: dict[str, str]

    @classmethod
    def of(cls, scope: Scope) -> Request:
        path: str = scope["path"].removeprefix(scope.get("root_path", ""))
        return cls(
            method=scope["method"],
            key=path.removeprefix("/objects").removeprefix("/"),
            query=dict(parse_qsl(scope.get("query_string", b"").decode("latin-1"))),
            headers={name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]},
        )


@define
class LocalServing:
    """The application. Knows nobody: a ticket is all the permission there is."""

    disk: Disk
    secret: bytes
    clock: Clock
    admission: Admission

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError(f"the object store serves http, not {scope['type']}")
        request = Request.of(scope)
        try:
            if request.method in ("GET", "HEAD"):
                await self._download(request, send)
            elif request.method == "PUT":
                await self._upload(request, receive, send)
            elif request.method == "OPTIONS":
                await _answer(send, 204, _CORS)
            else:
                raise Refused(405, "Use GET, HEAD or PUT.", {"allow": "GET, HEAD, PUT, OPTIONS"})
        except Refused as refused:
            await _answer(send, refused.status, refused.headers, refused.text)
        except BadTicket as error:
            await _answer(send, 403, {}, str(error))
        except ChatError as error:
            again = {} if error.retry_after is None else {"retry-after": str(math.ceil(error.retry_after))}
            await _answer(send, error.status, again, error.message)
        except Gone:
            pass

    def _ticket(self, request: Request, method: str) -> Ticket:
        ticket = tickets.unseal(self.secret, request.query, self.clock.wall_ms())
        if ticket.method != method or ticket.key != request.key:
            raise BadTicket("This link is for something else.")
        return ticket

    # --- out

    async def _download(self, request: Request, send: Send) -> None:
        ticket = self._ticket(request, "GET")
        info, file = await self.disk.run(self.disk.folder.open, ticket.key)
        try:
            headers = _describe(info, ticket, self.clock.wall_ms())
            wanted, known = (request.headers.get(name) for name in ("if-match", "if-none-match"))
            if wanted is not None and not _names(wanted, info):
                raise Refused(412, "The content has changed.")
            if known is not None and _names(known, info):
                await _answer(send, 304, headers)
                return
            # A range is for GET alone (RFC 9110, 14.2).
            status, start, stop = _select(request.headers if request.method == "GET" else {}, info)
            if status == 206:
                headers["content-range"] = f"bytes {start}-{stop - 1}/{info.size}"
            headers["content-length"] = str(stop - start)
            await _start(send, status, headers)
            if request.method == "GET":
                await self.disk.run(file.seek, start, 1)
                left = stop - start
                while left > 0:
                    chunk = await self.disk.run(file.read, min(WRITE_BYTES, left))
                    if not chunk:
                        raise RuntimeError("an object became shorter")  # contents are never changed in place
                    left -= len(chunk)
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        finally:
            file.close()

    # --- in

    async def _upload(self, request: Request, receive: Receive, send: Send) -> None:
        ticket = self._ticket(request, "PUT")
        length = request.headers.get("content-length", "")
        if _LENGTH.fullmatch(length) is None:
            raise Refused(411, "Send a Content-Length.")
        if int(length) != ticket.size:
            raise Refused(403, f"This link takes exactly {ticket.size} bytes.")
        if ticket.type and request.headers.get("content-type", "") != ticket.type:
            raise Refused(403, f"This link takes the Content-Type {ticket.type}.")
        patience = Patience(self.admission.patience)
        with self.admission.enter(ticket):
            await self.disk.require(ticket.size)
            async with self.disk.draft() as draft:
                waiting = bytearray()
                async for chunk in _body(receive, patience):
                    self._check_time(ticket)
                    waiting += chunk
                    if draft.size + len(waiting) > ticket.size:
                        raise Refused(403, f"This link takes exactly {ticket.size} bytes.")
                    if len(waiting) >= WRITE_BYTES:
                        await self.disk.run(draft.write, bytes(waiting))
                        waiting.clear()
                    patience.renew()
                if waiting:
                    await self.disk.run(draft.write, bytes(waiting))
                etag = await self._commit(draft, ticket)
        await _answer(send, 200, {"etag": f'"{etag}"'})

    def _check_time(self, ticket: Ticket) -> None:
        if self.clock.wall_ms() >= ticket.expires_at:
            # Whoever sweeps after the link's end must not find it later.
            raise BadTicket("This link has expired. Ask for a new one.")

    async def _commit(self, draft: Draft, ticket: Ticket) -> str:
        self._check_time(ticket)
        if ticket.upload:
            return await self.disk.run(self.disk.folder.commit_part, draft, ticket.key, ticket.upload, ticket.number)
        info = await self.disk.run(self.disk.folder.commit, draft, ticket.key, ticket.type)
        return info.etag


async def _body(receive: Receive, patience: Patience) -> AsyncIterator[bytes]:
    while True:
        try:
            async with asyncio.timeout_at(patience.until):
                message = await receive()
        except TimeoutError:
            text = f"Nothing came for {patience.seconds:g} seconds. Send all of it again."
            raise Refused(408, text, {"connection": "close"}) from None
        if message["type"] == "http.disconnect":
            raise Gone
        if message.get("body"):
            yield message["body"]
        if not message.get("more_body"):
            return


def _describe(info: ObjectInfo, ticket: Ticket, now_ms: int) -> dict[str, str]:
    # No Last-Modified: one content may belong to several files, and not every reader knows of the first.
    return {
        "content-type": content_type(ticket.type or info.type, utf8=ticket.utf8),
        "content-disposition": content_disposition(ticket.name, inline=ticket.inline),
        "etag": f'"{info.etag}"',
        "accept-ranges": "bytes",
        "cache-control": f"private, max-age={(ticket.expires_at - now_ms) // 1000}, immutable",
    }


def _names(condition: str, info: ObjectInfo) -> bool:
    """Whether an If-Match or If-None-Match header means this version."""
    return condition.strip() == "*" or f'"{info.etag}"' in condition


def _select(headers: dict[str, str], info: ObjectInfo) -> tuple[int, int, int]:
    """(status, first byte, one beyond the last) for a Range header of one range; several are answered in full."""
    match = _RANGE.fullmatch(headers.get("range", ""))
    condition = headers.get("if-range")
    if match is None or not (match[1] or match[2]) or (condition is not None and condition != f'"{info.etag}"'):
        return 200, 0, info.size
    if not match[1]:
        start, stop = max(0, info.size - int(match[2])), info.size
    else:
        start = int(match[1])
        stop = min(info.size, int(match[2]) + 1) if match[2] else info.size
    if start >= stop:
        raise Refused(416, "The content is shorter than this range.", {"content-range": f"bytes */{info.size}"})
    return 206, start, stop


async def _start(send: Send, status: int, headers: dict[str, str]) -> None:
    pairs = [(name.encode(), value.encode("latin-1", "replace")) for name, value in {**_ALWAYS, **headers}.items()]
    await send({"type": "http.response.start", "status": status, "headers": pairs})


async def _answer(send: Send, status: int, headers: dict[str, str], text: str = "") -> None:
    body = text.encode()
    described = {"content-type": "text/plain; charset=utf-8"} if body else {}
    if status not in (204, 304):
        described["content-length"] = str(len(body))
    await _start(send, status, {**described, **headers})
    await send({"type": "http.response.body", "body": body})
