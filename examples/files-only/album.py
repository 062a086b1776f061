"""A photo album on chat-oss alone: no chat, no other server, one SQLite file. See README.md."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import uvicorn
from chat_common.clock import Clock, SystemClock
from chat_common.errors import ChatError, Conflict, Invalid, NotAuthenticated
from chat_common.ports.files import AskLinks, BeginUpload, FinishUpload
from chat_common.validation import convert
from chat_oss.attachments import SqlAttachments
from chat_oss.files import FilesSettings, StoredFiles, open_files
from chat_oss.guard import GuardedStore
from chat_oss.local import LocalSettings, open_local
from chat_oss.tables import create_tables, file
from chat_transaction.sql.database import EngineDatabase
from sqlalchemy import create_engine, select
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Mount, Route

ALBUM = "album"
SWEEP_SECONDS = 30.0
T = TypeVar("T")


class Everybody:
    """An album knows no secrets: whoever comes may hang up pictures, and see them."""

    def may_send(self, connection: Any, user: str, conversation: str, now: int) -> None:
        """Nobody is refused."""

    def joined_at(self, connection: Any, user: str) -> int:
        return 0  # nobody is new here

    def visible(self, connection: Any, user: str, messages: Collection[tuple[str, int]]) -> Collection[tuple[str, int]]:
        return messages


def visitor(request: Request) -> str:
    """Who is there. An application has its own login; here a name will do."""
    name = request.headers.get("x-visitor", "")
    if not name.isalnum():
        raise NotAuthenticated("X-Visitor: say who you are")
    return name


async def asked(request: Request, kind: type[T], **more: str) -> T:
    """The body of a request; what is wrong with it is said as for a command of the chat."""
    try:
        body = msgspec.json.decode(await request.body(), type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise Invalid("the body must be a JSON object") from None
    return convert({**body, **more}, kind)


def answer(work: Callable[[Request], Awaitable[object]]) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        try:
            return Response(msgspec.json.encode(await work(request)), media_type="application/json")
        except ChatError as error:
            return Response(msgspec.json.encode(error.as_dict()), error.status, media_type="application/json")

    return endpoint


def album(files: StoredFiles, database: EngineDatabase, clock: Clock) -> list[Route]:
    async def begin(request: Request) -> object:
        return await files.begin(visitor(request), await asked(request, BeginUpload, conversation=ALBUM))

    async def finish(request: Request) -> object:
        upload = await asked(request, FinishUpload)
        who = visitor(request)
        # The same key again gets the same answer: whoever lost it asks again.
        facts = await files.finish(who, request.headers.get("idempotency-key", upload.file), upload)
        hang = SqlAttachments().attach
        with contextlib.suppress(Conflict):  # it hangs there already
            await database.change(
                lambda connection: hang(connection, who, ALBUM, clock.wall_ms(), "image", {"file": facts.file})
            )
        return facts

    async def pictures(request: Request) -> object:
        newest = select(file.c.file).where(file.c.seq.is_not(None)).order_by(file.c.seq.desc()).limit(50)
        found = await database.read(lambda connection: connection.execute(newest).scalars().all())
        hung = list(reversed(found))
        return await files.links(visitor(request), AskLinks(files=hung)) if hung else {"files": []}

    return [
        Route("/begin", answer(begin), methods=["POST"]),
        Route("/finish", answer(finish), methods=["POST"]),
        Route("/pictures", answer(pictures)),
    ]


async def sweep(files: StoredFiles, seconds: float) -> None:
    """Uploads that nobody finishes, and what recalled pictures leave: nobody else removes them."""
    while True:
        await asyncio.sleep(seconds)
        try:
            await files.sweep()
        except ChatError as error:  # the store is away: next time
            logging.getLogger("album").warning("sweep: %s", error.message)


@contextlib.asynccontextmanager
async def open_album(
    folder: Path, clock: Clock | None = None, sweep_seconds: float = SWEEP_SECONDS
) -> AsyncIterator[Starlette]:
    clock = clock or SystemClock()
    place = LocalSettings(path=str(folder))  # or MinioSettings and open_minio: the rest stays as it is
    policy = FilesSettings(types=("image/jpeg", "image/png", "image/gif", "image/webp"), daily_files=100)
    engine = create_engine(f"sqlite:///{folder / 'album.db'}")
    async with open_local(place, clock) as local, EngineDatabase(engine).opened() as database:
        await database.change(create_tables)
        store = GuardedStore(local, clock, place)
        async with open_files(store, database, Everybody(), clock, policy) as files:
            page = Route("/", lambda request: FileResponse(Path(__file__).parent / "album.html"))
            sweeping = asyncio.create_task(sweep(files, sweep_seconds))
            try:
                yield Starlette(routes=[page, *album(files, database, clock), Mount(local.mount.path, local.mount.app)])
            finally:
                sweeping.cancel()
                await asyncio.wait([sweeping])


async def main(folder: Path, port: int) -> None:
    async with open_album(folder) as app:
        await uvicorn.Server(uvicorn.Config(app, port=port)).serve()


if __name__ == "__main__":
    asyncio.run(main(Path(os.environ.get("ALBUM", "album-data")), int(sys.argv[1]) if len(sys.argv) > 1 else 8090))
