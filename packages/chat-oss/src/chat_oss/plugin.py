"""What this package registers with the server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from attrs import evolve
from chat_common.hookspecs import hookimpl
from chat_common.ports.objects import DataFolder, ObjectStore
from chat_common.records import Backend, Context

from chat_oss.local import LocalSettings, open_local
from chat_oss.s3 import MinioSettings, open_minio


@asynccontextmanager
async def _local(context: Context) -> AsyncIterator[ObjectStore]:
    settings: LocalSettings = context.settings
    if not settings.path:
        data = await context.get(DataFolder)
        settings = evolve(settings, path=str(data.path / "objects"))
    async with open_local(settings, context.clock) as store:
        yield store


@asynccontextmanager
async def _minio(context: Context) -> AsyncIterator[ObjectStore]:
    async with open_minio(context.settings, context.clock) as store:
        yield store


@hookimpl
def chat_backends() -> Sequence[Backend]:
    return [
        Backend(ObjectStore, "local", _local, LocalSettings, "A folder; links lead to this server.", default=True),
        Backend(ObjectStore, "minio", _minio, MinioSettings, "MinIO or any S3; links lead straight to it."),
    ]
