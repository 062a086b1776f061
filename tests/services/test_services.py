"""The launchers start real servers."""

from __future__ import annotations

from pathlib import Path

import psycopg

from tests.services.postgresql import fresh_database, running_postgresql
from tests.services.redis import running_redis


def test_postgresql_keeps_what_was_committed_before_a_crash() -> None:
    with running_postgresql() as server, fresh_database(server.address) as address:
        with psycopg.connect(address) as connection:
            connection.execute("CREATE TABLE t (i integer)")
            connection.execute("INSERT INTO t VALUES (1)")
        server.crash()
        server.start()
        with psycopg.connect(address) as connection:
            assert connection.execute("SELECT i FROM t").fetchall() == [(1,)]


def test_redis_comes_back_empty(tmp_path: Path) -> None:
    import redis

    with running_redis(tmp_path) as server:
        client = redis.Redis.from_url(server.url)
        client.set("a", "1")
        assert client.get("a") == b"1"
        server.kill()
        server.start()
        assert client.get("a") is None
        client.close()
