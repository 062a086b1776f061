"""What files cost: 200 uploads of 1 MB at once, straight to a real MinIO, and pictures converted a second.

    python -m bench.oss [--uploads 200] [--size 1000000]

The server runs in this process, MinIO and the uploading clients in others, so the CPU that is told is the server's.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import secrets
import sys
import tempfile
import time
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx2
from chat_oss.converter import Converter
from chat_oss.picture_settings import PictureSettings
from chat_oss.s3 import open_minio
from chat_server.server import Server
from PIL import Image

from tests.services.minio import running_minio
from tests.services.s3 import S3Server


def cpu(whose: int = resource.RUSAGE_SELF) -> float:
    """Seconds of CPU that this process has used, in all its threads; or those of its children that have ended."""
    used = resource.getrusage(whose)
    return used.ru_utime + used.ru_stime


async def put_all(size: int) -> None:
    """The clients: read requests as JSON from stdin, do all at once, tell the seconds."""
    requests = json.load(sys.stdin)
    body = os.urandom(size)
    limits = httpx2.Limits(max_connections=len(requests))
    async with httpx2.AsyncClient(timeout=120, limits=limits) as web:
        began = time.perf_counter()

        async def one(request: dict[str, Any]) -> None:
            # Different contents, so that none is stored once for all.
            content = os.urandom(16) + body[16:]
            answer = await web.request("PUT", request["url"], headers=request["headers"], content=content)
            answer.raise_for_status()

        await asyncio.gather(*(one(request) for request in requests))
        print(time.perf_counter() - began)


async def uploads(minio: S3Server, folder: Path, number: int, size: int) -> dict[str, Any]:
    bucket = f"bench-{secrets.token_hex(4)}"
    async with open_minio(minio.settings(bucket)) as store:
        await store.prepare()
    settings = {
        "server": {"data": str(folder)},
        "ports": {"object_store": "minio"},
        "object_store.minio": {
            "endpoint": minio.endpoint,
            "bucket": bucket,
            "access_key": minio.access_key,
            "secret_key": minio.secret_key,
        },
        "files.oss": {"daily_files": number * 2, "daily_bytes": number * size * 2},
        "limits": {"points": 0},
    }
    async with Server(settings=settings, environ={}) as server:
        user = (await server.ensure_user("ada")).user
        room = (await server.call("group.create", {"name": "bench", "members": []}, user=user)).conversation
        request = {"conversation": room, "name": "a.bin", "type": "application/octet-stream", "size": size}

        used, began = cpu(), time.perf_counter()
        begun = await asyncio.gather(*(server.call("upload.begin", request, user=user) for _ in range(number)))
        begin = (cpu() - used, time.perf_counter() - began)

        used = cpu()
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "bench.oss", "--put", "--size", str(size),
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        links = [{"url": one.put.url, "headers": one.put.headers} for one in begun]
        out, _ = await child.communicate(json.dumps(links).encode())
        put = (cpu() - used, float(out))

        used, began = cpu(), time.perf_counter()
        await asyncio.gather(*(server.call("upload.finish", {"file": one.file}, user=user) for one in begun))
        finish = (cpu() - used, time.perf_counter() - began)
    return {
        step: {"cpu_ms_per_upload": round(took[0] * 1000 / number, 3), "wall_s": round(took[1], 2)}
        for step, took in {"begin": begin, "put": put, "finish": finish}.items()
    }


def photograph(width: int, height: int) -> bytes:
    """A JPEG with about as much in it as a photograph has."""
    noise = Image.frombytes("RGB", (width // 8, height // 8), os.urandom(width // 8 * (height // 8) * 3))
    out = BytesIO()
    noise.resize((width, height), Image.Resampling.BICUBIC).save(out, "JPEG", quality=88)
    return out.getvalue()


async def pictures(seconds: float) -> dict[str, Any]:
    """Conversions a second (measured, stripped, two thumbnails) by size and processes; the CPU is that of all of them,
    their start included."""
    found: dict[str, Any] = {}
    for width, height in ((1920, 1080), (4032, 3024)):
        data = photograph(width, height)
        for processes in (1, 2):
            used = cpu() + cpu(resource.RUSAGE_CHILDREN)
            converter = Converter(PictureSettings(), processes=processes, seconds=60.0)
            batch = range(processes * 2)
            await asyncio.gather(*(converter.convert(data, "image/jpeg") for _ in batch))  # they start
            began, done = time.perf_counter(), 0
            while time.perf_counter() - began < seconds:
                await asyncio.gather(*(converter.convert(data, "image/jpeg") for _ in batch))
                done += len(batch)
            took = time.perf_counter() - began
            await converter.aclose()
            used = cpu() + cpu(resource.RUSAGE_CHILDREN) - used
            found[f"{width}x{height}, {len(data) // 1000} kB, {processes} processes"] = {
                "pictures_per_s": round(done / took, 1),
                "thumbnails_per_s": round(done * 2 / took, 1),
                "cpu_ms_per_picture": round(used * 1000 / (done + len(batch)), 1),
            }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--uploads", type=int, default=200)
    parser.add_argument("--size", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--put", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.put:
        asyncio.run(put_all(options.size))
        return
    with tempfile.TemporaryDirectory() as name, running_minio(Path(name)) as minio:
        result = {
            "machine": {"cpus": os.cpu_count(), "load": os.getloadavg()[0]},
            "uploads": {"number": options.uploads, "bytes": options.size},
            "server": asyncio.run(uploads(minio, Path(name) / "chat", options.uploads, options.size)),
            "pictures": asyncio.run(pictures(options.seconds)),
        }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
