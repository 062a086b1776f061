"""A poison message from end to end: buried with its reason, listed by the command, replayed after the fix."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import httpx2
from chat_common.hookspecs import hookimpl
from chat_common.ports.broker import BrokerRecord
from chat_common.ports.outbox import Outbox
from chat_common.records import Consumer, Context
from chat_server.cli import main
from chat_server.server import Server
from click.testing import CliRunner

from tests.chat_transaction.conftest import Seen, entry, until


class Printing:
    """A plugin whose consumer fails on one payload until it is mended."""

    def __init__(self) -> None:
        self.seen = Seen()
        self.broken = True

    @hookimpl
    def chat_consumers(self, context: Context) -> Sequence[Consumer]:
        return [Consumer("orders", "print", self.handle, attempts=3)]

    async def handle(self, records: Sequence[BrokerRecord]) -> None:
        if self.broken and any(record.payload == b"poison" for record in records):
            raise ValueError("out of ink")
        await self.seen(records)


async def test_poison_is_buried_listed_and_replayed(tmp_path: Path) -> None:
    async def command(*words: str) -> str:
        result = await asyncio.to_thread(CliRunner().invoke, main, ["--data", str(tmp_path), *words], env={})
        assert result.exit_code == 0, result.output
        return result.output

    printing = Printing()
    settings = {"server": {"data": str(tmp_path)}, "relay": {"sql": {"retry_first": 0.01, "scan_interval": 0.05}}}
    async with Server(settings=settings, environ={}, plugins=[printing]) as server:
        outbox = await server.assembly.get(Outbox)  # type: ignore[type-abstract]
        entries = [entry("a", "one"), entry("a", "poison"), entry("a", "two"), entry("b", "three")]
        tokens = await server.database.change(lambda connection: outbox.write(connection, entries))
        outbox.committed(tokens)
        await printing.seen.count(3)

        async def buried() -> bool:
            return "no dead letters" not in await command("dead-letters", "list")

        await until(buried)
        assert printing.seen.payloads("a") == [b"one", b"two"], "its neighbours went on"
        (line,) = (await command("dead-letters", "list", "--topic", "orders")).splitlines()
        letter = line.split()[0]
        assert "orders print key=a attempts=3 ValueError: out of ink (test_cli_dead_letters.py:" in line
        page = await command("dead-letters", "show", letter)
        assert "6 bytes" in page
        assert "poison" not in page
        assert "poison" in await command("dead-letters", "show", letter, "--payload")
        status = await command("outbox", "status")
        assert "buried  1" in status
        assert "group   orders/print runs\n" in status
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(server.app), base_url="http://chat") as web:
            numbers = (await web.get("/metrics")).text.splitlines()
        for line in (
            'chat_outbox_attempts_total{group="print",outcome="handled",topic="orders"} 3.0',
            'chat_outbox_attempts_total{group="print",outcome="failed",topic="orders"} 2.0',
            'chat_outbox_attempts_total{group="print",outcome="buried",topic="orders"} 1.0',
            'chat_outbox_in_flight{topic="orders"} 0.0',
            "chat_outbox_oldest_seconds 0.0",
            'chat_dead_letters{state="buried"} 1.0',
            'chat_dead_letters{state="parked"} 0.0',
            'chat_outbox_waiting_for_group{group="print",topic="orders"} 0.0',
        ):
            assert line in numbers
        printing.broken = False
        assert await command("dead-letters", "replay", letter) == "1 given to the relay again\n"
        await printing.seen.count(4)
        assert printing.seen.payloads("a")[-1] == b"poison"
        assert "no dead letters" in await command("dead-letters", "list")


async def test_a_group_whose_plugin_was_taken_out_waits_until_it_is_forgotten(tmp_path: Path) -> None:
    async def command(*words: str) -> str:
        result = await asyncio.to_thread(CliRunner().invoke, main, ["--data", str(tmp_path), *words], env={})
        return result.output

    class Auditing(Printing):
        @hookimpl
        def chat_consumers(self, context: Context) -> Sequence[Consumer]:
            return [Consumer("orders", "audit", self.handle)]

    printing, auditing = Printing(), Auditing()
    settings = {"server": {"data": str(tmp_path)}, "relay": {"sql": {"scan_interval": 0.05, "purge_interval": 0.01}}}
    async with Server(settings=settings, environ={}, plugins=[printing, auditing]):
        pass
    async with Server(settings=settings, environ={}, plugins=[printing]) as server:
        outbox = await server.assembly.get(Outbox)  # type: ignore[type-abstract]
        await server.database.change(lambda connection: outbox.write(connection, [entry("a", "one")]))

        async def says(text: str) -> bool:
            return text in await command("outbox", "status")

        await until(lambda: says("orders/audit is run by nobody, last seen 0 min ago, 1 wait for it"))
        assert await command("outbox", "forget", "orders", "audit") == "nothing waits for orders/audit any more\n"
        assert "has no group 'audit'" in await command("outbox", "forget", "orders", "audit")
        await until(lambda: says("depth   0"))


def test_without_a_database_it_says_so(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["--data", str(tmp_path), "dead-letters", "list"], env={})
    assert result.exit_code == 1
    assert "There is no database yet" in result.output
    assert list(tmp_path.iterdir()) == []


def test_rocketmq_topics_names_what_the_server_uses(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["--data", str(tmp_path), "rocketmq", "topics"], env={})
    assert '"topicName": "chat-stored"' in result.output
    assert '"+message.type": "DELAY"' in result.output
    groups = CliRunner().invoke(main, ["--data", str(tmp_path), "rocketmq", "groups"], env={})
    assert '"groupName": "chat-fanout"' in groups.output


def test_rocketmq_groups_follow_the_settings_and_no_other_server_is_asked(tmp_path: Path) -> None:
    """Items, lists of words and webhooks are consumed for only where they are on, and a group that the broker does not
    know keeps a server from starting."""
    config = tmp_path / "chat.toml"
    config.write_text(
        '[ports]\nbroker = "rocketmq"\ndatabase = "postgresql"\ndirectory = "redis"\n'
        '[database.postgresql]\nurl = "postgresql://127.0.0.1:1/nothing"\n[items]\nenabled = true\n'
    )
    said = {
        what: CliRunner().invoke(main, ["--config", str(config), "rocketmq", what]) for what in ("topics", "groups")
    }
    assert '"groupName": "chat-items"' in said["groups"].output
    assert '"topicName": "chat-registered"' in said["topics"].output
    config.write_text("")
    assert "chat-items" not in CliRunner().invoke(main, ["--config", str(config), "rocketmq", "groups"]).output
