"""What this package registers with the server: stores, the service of uploads, attachments, their tables."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from attrs import evolve
from chat_common.hookspecs import hookimpl
from chat_common.ports.database import Database
from chat_common.ports.files import Attachments, FileRights, Files
from chat_common.ports.objects import DataFolder, ObjectStore, ObjectTelemetry
from chat_common.records import Backend, Context, Tables
from chat_common.settings import SetupError

from chat_oss import tables
from chat_oss.attachments import SqlAttachments
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
    database = await context.get(Database)  # type: ignore[type-abstract]
    rights = await context.get(FileRights)  # type: ignore[type-abstract]
    telemetry = await _telemetry(context)
    async with open_files(store, database, rights, context.clock, context.settings, telemetry) as files:
        yield files


@asynccontextmanager
async def _attachments(context: Context) -> AsyncIterator[Attachments]:
    yield SqlAttachments()


@hookimpl
def chat_backends() -> Sequence[Backend]:
    return [
        Backend(ObjectStore, "local", _local, LocalSettings, "A folder; links lead to this server.", default=True),
        Backend(ObjectStore, "minio", _minio, MinioSettings, "MinIO or any S3; links lead straight to it."),
        Backend(Files, "oss", _files, FilesSettings, "Uploads with a policy, thumbnails, links.", default=True),
        Backend(Attachments, "oss", _attachments, summary="Files in the messages of one database.", default=True),
    ]


@hookimpl
def chat_tables() -> Sequence[Tables]:
    return [Tables(tables.OWNER, tables.metadata, tables.REVISIONS)]
