"""Search of messages at size: what indexing a message costs, and what a query costs, by CPU and by the clock.

`python -m bench.search [COUNT]` fills a fresh store in a temporary folder with COUNT messages (a million by default) of
a thousand conversations, a third of them Chinese, indexes them as a server does at its first start after the
migration, and asks. `python -m bench.search submits` compares durable submits with the index and without. Nothing here
uses the network: what is measured is the index.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path
from typing import Any

from chat_common.clock import SystemClock
from chat_common.plugins import Plugins
from chat_common.records import Caller
from chat_server.im.kinds import Kinds
from chat_server.im.search.find import Search, SearchMessages
from chat_server.im.search.indexer import Indexer
from chat_server.im.search.settings import SearchSettings
from chat_server.server import Server
from chat_server.store import migrate, schema
from chat_server.store.sqlite import SqliteDatabase, open_sqlite
from sqlalchemy import Connection, create_engine, func, select

from bench.seed import _insert

ROOMS, MINE = 1_000, 100
START = 1_760_000_000_000


def _vocabulary(rng: random.Random) -> tuple[list[str], list[str]]:
    latin = [
        "".join(rng.choices("etaoinshrdlucmfwypvbgkjqxz", range(26, 0, -1), k=rng.randint(2, 9))) for _ in range(30_000)
    ]
    return latin, [chr(0x4E00 + at) for at in range(3_000)]


def _texts(rng: random.Random, count: int) -> Iterator[str]:
    latin, han = _vocabulary(rng)
    # As in real languages, the n-th most frequent word is about 1/n as frequent as the first.
    latin_sums, han_sums = (list(accumulate(1 / (n + 2) for n in range(len(some)))) for some in (latin, han))
    for number in range(count):
        if number % 3 == 0:
            yield "".join(rng.choices(han, cum_weights=han_sums, k=rng.randint(4, 40)))
        else:
            yield " ".join(rng.choices(latin, cum_weights=latin_sums, k=rng.randint(2, 20)))


def fill(path: Path, count: int) -> None:
    """A store with ``count`` messages; ``me`` is in every tenth conversation."""
    rng = random.Random(14)
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        migrate.upgrade_all(connection, [owned.record for owned in Plugins.load().tables])
        rows(connection, rng, count)
    engine.dispose()


def rows(connection: Connection, rng: random.Random, count: int) -> None:
    each = count // ROOMS
    names = [f"room-{number:04}" for number in range(ROOMS)]
    _insert(
        connection,
        schema.user,
        ({"user": who, "name": who, "folded": who, "created_at": START} for who in ("me", "other")),
    )
    _insert(
        connection,
        schema.conversation,
        (
            {"conversation": name, "kind": "group", "name": name, "created_at": START, "members": 1, "head_seq": each,
             "head_rev": each, "head_time": START, "touched_at": START}
            for name in names
        ),
    )  # fmt: skip
    _insert(
        connection,
        schema.member,
        (
            {"conversation": name, "user": "me", "role": "member", "joined_at": START, "rev": 1}
            for name in names[:: ROOMS // MINE]
        ),
    )
    said = _texts(rng, count)
    _insert(
        connection,
        schema.message,
        (
            {"conversation": names[number % ROOMS], "seq": number // ROOMS + 1, "rev": number // ROOMS + 1,
             "first_rev": number // ROOMS + 1, "sender": "other", "ref": str(number), "hash": b"", "kind": "text",
             "body": json.dumps({"text": next(said)}, ensure_ascii=False), "time": START + number * 1000}
            for number in range(each * ROOMS)
        ),
    )  # fmt: skip


async def index_all(database: SqliteDatabase, kinds: Kinds) -> tuple[int, float]:
    """(messages, CPU seconds of the process)"""
    indexer = Indexer(database, SystemClock(), kinds, SearchSettings())
    total, cpu = 0, time.process_time()
    while True:
        looked_at, rest = await indexer.step()
        total += looked_at
        if not rest:
            return total, time.process_time() - cpu


async def ask(search: Search, times: int = 20, **params: Any) -> tuple[float, float, int]:
    """(median ms by the clock, ms of CPU, hits of a page)"""
    took, cpu, hits = [], time.process_time(), 0
    for _ in range(times):
        start = time.perf_counter()
        hits = len((await search.search(Caller("me", "x"), SearchMessages(**params))).hits)
        took.append(time.perf_counter() - start)
    return 1000 * sorted(took)[times // 2], 1000 * (time.process_time() - cpu) / times, hits


async def submits(enabled: bool, count: int = 3_000, flight: int = 64) -> tuple[float, float]:
    """(durable submits a second, µs of the process's CPU each) while the indexer is at work, or is not there; the index
    has caught up before the time is taken."""
    said = list(_texts(random.Random(15), count))
    with tempfile.TemporaryDirectory() as folder:
        settings: dict[str, Any] = {"server": {"data": folder}, "limits": {"points": 0}, "search": {"enabled": enabled}}
        async with Server(settings=settings) as server:
            me = (await server.ensure_user("me")).user
            rooms = [
                (await server.call("group.create", {"name": "g", "members": []}, user=me)).conversation
                for _ in range(20)
            ]
            start, cpu = time.perf_counter(), time.process_time()

            async def some(first: int) -> None:
                for number in range(first, count, flight):
                    body = {"conversation": rooms[number % 20], "kind": "text", "body": {"text": said[number]}}
                    await server.call("submit", body, user=me)

            await asyncio.gather(*(some(first) for first in range(flight)))
            rate = count / (time.perf_counter() - start)
            indexed = select(func.count()).select_from(schema.search)
            while enabled and await server.database.read(lambda it: it.execute(indexed).scalar_one()) < count:  # noqa: ASYNC110
                await asyncio.sleep(0.2)
            return rate, 1e6 * (time.process_time() - cpu) / count


async def compare(rounds: int = 4) -> None:
    """Both ways in turn, in one run: the machine is the same for both."""
    found: dict[bool, list[tuple[float, float]]] = {True: [], False: []}
    for _ in range(rounds):
        for enabled in (False, True):
            found[enabled].append(await submits(enabled))
    for enabled, all_of_them in found.items():
        rate, cpu = (sorted(values)[rounds // 2] for values in zip(*all_of_them, strict=True))
        print(f"{'with' if enabled else 'without'} the index: {rate:.0f} durable submits/s, {cpu:.0f} µs CPU each")


async def main(count: int) -> None:
    kinds = Kinds({owned.record.name: owned.record for owned in Plugins.load().kinds})
    latin, han = _vocabulary(random.Random(14))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "chat.db"
        fill(path, count)
        before = path.stat().st_size
        async with open_sqlite(path) as database:
            total, cpu = await index_all(database, kinds)
            await database.change(lambda connection: connection.exec_driver_sql("SELECT 1"))
            print(f"{total} messages indexed, {1e6 * cpu / total:.1f} µs CPU each")
            search = Search(database, kinds, SearchSettings(seconds=60))
            questions: dict[str, dict[str, Any]] = {
                "a frequent word": {"query": latin[1]},
                "a rare word": {"query": latin[20_000]},
                "two words": {"query": f"{latin[3]} {latin[40]}"},
                "the beginning of words": {"query": latin[1][:2]},
                "one frequent character": {"query": han[0]},
                "one rare character": {"query": han[2_500]},
                "two characters": {"query": han[0] + han[5]},
                "three characters": {"query": han[0] + han[3] + han[5]},
                "nothing": {"query": "qqqqqqqq"},
                "a kind alone": {"kinds": ["text"]},
            }
            for name, params in questions.items():
                everywhere = await ask(search, **params)
                here = await ask(search, conversation="room-0000", **params)
                shown = [f"{ms:.1f} | {work:.1f} | {hits}" for ms, work, hits in (everywhere, here)]
                print(f"| {name} | {' | '.join(shown)} |")
        print(f"{(path.stat().st_size - before) / total:.0f} bytes each, beside {before / total:.0f} of the message")


if __name__ == "__main__":
    asyncio.run(
        compare() if sys.argv[1:] == ["submits"] else main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
    )
