"""What this part registers: commands, the sweep, and the address of a local store's links."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import structlog
from chat_common.assembly import Assembly
from chat_common.errors import ChatError, Unavailable
from chat_common.plugins import PluginError
from chat_common.ports.files import (
    AskLinks,
    Attachments,
    BeginUpload,
    Canceled,
    CancelUpload,
    FileFacts,
    FileLinks,
    Files,
    FinishUpload,
    NoAttachments,
    PartLinks,
    UploadBegun,
    UploadParts,
)
from chat_common.ports.objects import ObjectStore
from chat_common.records import Caller, Command, Context, Screens, Task
from chat_common.settings import SetupError
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from chat_server.contributions import screens_texts
from chat_server.store.executor import caller_user

log = structlog.get_logger("chat.files")
T = TypeVar("T")
SWEEP_SECONDS = 30.0
OBJECTS = "/objects"
AVATARS = "/avatars"
SLACK_SECONDS = 30
"""A browser goes to a remembered address so long before its link ends at the latest."""


async def _files(context: Context) -> Files:
    try:
        return await context.get(Files)  # type: ignore[type-abstract]
    except SetupError:
        raise Unavailable("This server keeps no files: the package interesting-chat-oss is not installed.") from None


async def attachments(assembly: Assembly) -> Attachments:
    """What binds files to messages; when no package does, the one that refuses them."""
    chosen = await assembly.all(Attachments)  # type: ignore[type-abstract]
    return next(iter(chosen.values()), NoAttachments())


async def files_of(assembly: Assembly) -> Files | None:
    """What takes files in; None where no package does."""
    chosen = await assembly.all(Files)  # type: ignore[type-abstract]
    return next(iter(chosen.values()), None)


def commands(context: Context) -> Sequence[Command]:
    """The client commands of files. Without a package that provides `Files` they answer `Unavailable`."""

    def command(
        name: str,
        request: type[Any],
        reply: type[T],
        work: Callable[[Files, Caller, Any], Awaitable[T]],
        summary: str,
        *,
        reads: bool = False,
        cost: int = 1,
        screens: Screens | None = None,
    ) -> Command:
        async def handler(caller: Caller, params: Any) -> T:
            caller_user(caller)
            return await work(await _files(context), caller, params)

        return Command(
            name, request, reply, handler, "reads" if reads else "changes", summary=summary, cost=cost, screens=screens
        )

    async def begin(files: Files, caller: Caller, request: BeginUpload) -> UploadBegun:
        return await files.begin(caller_user(caller), request)

    async def parts(files: Files, caller: Caller, request: UploadParts) -> PartLinks:
        return await files.parts(caller_user(caller), request)

    async def finish(files: Files, caller: Caller, request: FinishUpload) -> FileFacts:
        return await files.finish(caller_user(caller), caller.ref, request)

    async def cancel(files: Files, caller: Caller, request: CancelUpload) -> Canceled:
        await files.cancel(caller_user(caller), request)
        return Canceled()

    async def links(files: Files, caller: Caller, request: AskLinks) -> FileLinks:
        return await files.links(caller_user(caller), request)

    return [
        command(
            "upload.begin",
            BeginUpload,
            UploadBegun,
            begin,
            "Announce a file; the answer says where to put it.",
            cost=3,
            screens=screens_texts(name="file.name"),
        ),
        command("upload.parts", UploadParts, PartLinks, parts, "Links for parts of a large file.", reads=True, cost=2),
        command("upload.finish", FinishUpload, FileFacts, finish, "It is there: verify it and make it a file.", cost=3),
        command("upload.cancel", CancelUpload, Canceled, cancel, "Forget an upload or an unsent file."),
        command(
            "file.links", AskLinks, FileLinks, links, "Addresses under which files can be read now.", reads=True, cost=2
        ),
    ]


async def _sweep(context: Context) -> None:
    files = await _files(context)
    while True:
        await asyncio.sleep(SWEEP_SECONDS)
        try:
            gone = await files.sweep()
        except ChatError as error:
            log.warning("sweep_failed", code=error.code, reason=error.message)
            continue
        if gone:
            log.info("swept", gone=gone)


async def _sweep_if_any(context: Context) -> None:
    try:
        await _sweep(context)
    except Unavailable:
        return  # nothing is kept, so nothing is to be swept


TASKS = (Task("files-sweep", _sweep_if_any, once=True),)


def routes(context: Context) -> Sequence[Mount | Route]:
    """The links of a store that has no server of its own, and the pictures of profiles."""
    found: list[ASGIApp | None] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if not found:
            found.append(await _mounted(context))
        await (found[0] or PlainTextResponse("not found", 404))(scope, receive, send)

    async def avatar(request: Request) -> Response:
        try:
            files = await _files(context)
            link = await files.avatar(request.path_params["file"], large=request.query_params.get("size") == "large")
        except ChatError as error:
            return PlainTextResponse(error.message, error.status, headers={"cache-control": "no-store"})
        # A relative link begins at the server's address, which is one step up from here.
        address = link.url if "://" in link.url else f"../{link.url}"
        left = max(0, (link.expires_at - context.clock.wall_ms()) // 1000 - SLACK_SECONDS)
        return Response(status_code=302, headers={"location": address, "cache-control": f"private, max-age={left}"})

    return [Mount(OBJECTS, app=app), Route(f"{AVATARS}/{{file}}", avatar)]


async def store_origin(assembly: Assembly) -> str | None:
    """Where the links of the chosen store lead, when that is another server's origin."""
    try:
        store = await assembly.get(ObjectStore)  # type: ignore[type-abstract]
    except PluginError:
        return None  # no store, or several
    return store.origin


async def _mounted(context: Context) -> ASGIApp | None:
    try:
        store = await context.get(ObjectStore)  # type: ignore[type-abstract]
    except SetupError:
        return None
    return None if store.mount is None else store.mount.app
