"""What this package registers with the server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from attrs import evolve
from chat_common.hookspecs import hookimpl
from chat_common.ports.files import FileRecords, Files
from chat_common.ports.objects import DataFolder, ObjectStore, ObjectTelemetry
from chat_common.records import Backend, Context
from chat_common.settings import SetupError

from chat_oss.files import FilesSettings, open_files
from chat_oss.guard import GuardedStore
from chat_oss.local import LocalSettings, open_local
from chat_oss.s3_settings import MinioSettings
from chat_oss.telemetry import Silent


async def _telemetry(context: Context) -> ObjectTelemetry:
    try:
        return await context.get(ObjectTelemetry)  # type: ignore[type-abstract]
    except SetupError:
        return Silent()  # an application that keeps no numbers


@asynccontextmanager
async def _local(context: Context) -> AsyncIterator[ObjectStore]:
    settings: LocalSettings = context.settings
    if not settings.path:
        data = await context.get(DataFolder)
        settings = evolve(settings, path=str(data.path / "objects"))
    async with open_local(settings, context.clock) as store:
        yield GuardedStore(store, context.clock, settings, await _telemetry(context))


@asynccontextmanager
async def _minio(context: Context) -> AsyncIterator[ObjectStore]:
    from chat_oss.s3 import open_minio

    async with open_minio(context.settings, context.clock) as store:
        yield GuardedStore(store, context.clock, context.settings, await _telemetry(context))


@asynccontextmanager
async def _files(context: Context) -> AsyncIterator[Files]:
    store = await context.get(ObjectStore)  # type: ignore[type-abstract]
    records = await context.get(FileRecords)  # type: ignore[type-abstract]
    async with open_files(store, records, context.clock, context.settings, await _telemetry(context)) as files:
        yield files


@hookimpl
def chat_backends() -> Sequence[Backend]:
    return [
        Backend(ObjectStore, "local", _local, LocalSettings, "A folder; links lead to this server.", default=True),
        Backend(ObjectStore, "minio", _minio, MinioSettings, "MinIO or any S3; links lead straight to it."),
        Backend(Files, "oss", _files, FilesSettings, "Uploads with a policy, thumbnails, links.", default=True),
    ]
