from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from attrs import define, field
from chat_common import events, wire
from chat_common.clock import SystemClock
from chat_common.errors import Unavailable
from chat_common.memory.directory import MemoryDirectory
from chat_common.ports.directory import NodeRecord
from chat_common.ports.rpc import Method, methods_of
from chat_common.records import Push
from chat_common.settings import SetupError
from chat_server import nodes
from chat_server.nodes import Nodes, Place
from chat_server.remote import GatewayEndpoint, RelayEndpoint, Served
from chat_server.roles import ALL, GATEWAY
from chat_server.rpc.grpc_rpc import GrpcRpc
from chat_server.rpc.settings import GrpcRpcSettings
from chat_server.services import (
    Delivery,
    EphemeralNote,
    GatewayService,
    Membership,
    Movements,
    RelayService,
    SessionPush,
)

from tests.chat_server.router.gateways import FakeGateway, to
from tests.support.waiting import until


class Directory(MemoryDirectory):
    """Shared by all nodes of a test, who see it as old until it forgets. ``away``: it does not answer."""

    def __init__(self) -> None:
        super().__init__(SystemClock())
        self.age = 1_000.0
        self.away = False
        self.refused = 0

    async def known_since(self) -> float:
        if self.away:
            self.refused += 1
            raise Unavailable("it is away")
        self.age += 0.5
        return self.age

    def forget(self) -> None:
        self._nodes.clear()
        self.age = 0.0


@define
class FakeRelay:
    """``others``: what it calls when rows are another node's."""

    others: Callable[[], None] | None = None
    looks: int = 0

    def notify(self, others: Callable[[], None] | None) -> None:
        self.others = others

    def look(self) -> None:
        self.looks += 1


@define
class Here:
    """One node, and what it was told."""

    nodes: Nodes
    gateway: FakeGateway
    relay: FakeRelay
    others: dict[str, GatewayService] = field(factory=dict)
    forgot: list[bool] = field(factory=list)
    registered: list[None] = field(factory=list)


@asynccontextmanager
async def node(name: str, directory: MemoryDirectory, boot: str = "") -> AsyncIterator[Here]:
    async with GrpcRpc(GrpcRpcSettings()).opened() as rpc:
        here: Here
        relay: Any = FakeRelay()
        gateway = FakeGateway()

        def meet(found: Mapping[str, GatewayService]) -> None:
            here.others = dict(found)

        record = NodeRecord(name, boot or name, SystemClock().wall_ms(), rpc.address, frozenset(ALL), "1.0")
        place = Place(
            name=name,
            directory=directory,
            rpc=rpc,
            roles=frozenset(ALL),
            serving=[
                Served("gateway", GatewayService, GatewayEndpoint(gateway)),
                Served("relay", RelayService, RelayEndpoint(relay)),
            ],
            relay=relay,
            keeps=False,
            meet=meet,
            forgot=lambda forgetful: here.forgot.append(forgetful),
            register=lambda: here.registered.append(None),
            record=lambda: record,
        )
        here = Here(Nodes(place), gateway, relay)
        async with here.nodes.running():
            yield here


async def test_nodes_find_each_other_and_call_each_other() -> None:
    directory = Directory()
    async with node("a", directory) as a:
        async with node("b", directory) as b:
            await until(lambda: set(a.others) == {"b"} and set(b.others) == {"a"})
            await a.others["b"].deliver([to("bob")])
            (delivery,) = b.gateway.delivered
            assert delivery.users == {"bob": 1}
            await b.others["a"].moved(Movements(["bob"], ["cat"]))
            assert a.gateway.movements == [Movements(["bob"], ["cat"])]
            assert (await directory.nodes())["b"].release
        await until(lambda: a.others == {})
        assert set(await directory.nodes()) == {"a"}


async def test_rows_for_other_nodes_are_reported_to_their_relays_together() -> None:
    directory = Directory()
    async with node("a", directory) as a:
        async with node("b", directory) as b:
            await until(lambda: set(a.others) == {"b"})
            assert a.relay.others is not None
            for _ in range(50):
                a.relay.others()
            await until(lambda: b.relay.looks > 0)
            assert (a.relay.looks, b.relay.looks) == (0, 1)
        await until(lambda: a.others == {})
        a.relay.others()  # nobody is there
    assert a.relay.others is None


async def test_a_name_that_is_taken_by_a_later_start_is_refused() -> None:
    directory = Directory()
    await directory.announce(NodeRecord("a", "later", 1 << 50, "127.0.0.1:1"), lease=60)
    with pytest.raises(SetupError, match="another process runs under the name 'a'"):
        async with node("a", directory):
            pass


async def test_a_node_whose_name_was_taken_is_not_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nodes, "LEASE", 0.03)
    directory = Directory()
    async with node("a", directory) as here:
        await here.nodes.ready()
        directory._nodes["a"] = (NodeRecord("a", "later", 1 << 50), float("inf"))
        await until(lambda: here.nodes.displaced)
        with pytest.raises(Unavailable, match="has the name of this node"):
            await here.nodes.ready()


async def test_a_directory_that_forgot_is_written_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nodes, "LOOK", 0.01)
    directory = Directory()
    async with node("a", directory) as here:
        await until(lambda: len(here.forgot) > 2)
        assert not any(here.forgot)
        assert here.registered == []
        directory.forget()
        await until(lambda: bool(here.registered))
        assert "a" in await directory.nodes(), "it has announced itself again"
        assert here.forgot[-1]
        directory.away = True
        await until(lambda: directory.refused > 1)
        registered = len(here.registered)
        directory.away = False
        await until(lambda: len(here.registered) > registered)


def test_a_service_can_be_called_over_a_wire() -> None:
    assert set(methods_of(GatewayService)) == {"deliver", "tell", "note", "close", "online", "moved", "missed"}


USER = wire.User(user="ann", name="Ann")
DATA: Mapping[str, Any] = {
    "message": wire.Message(
        conversation="c", seq=1, rev=1, kind="text", body={"text": "hi"}, sender="ann", time=5, ref="r"
    ),
    "members": events.MembersChanged(conversation="c", rev=1, members=[]),
    "user": events.UserChanged(user=USER, version=4),
    "device": events.DeviceChanged(device="d", platform="p", seen_at=1, state="added"),
    "login": events.LoginProgress(ticket="t", state="scanned", user=USER),
    "token": events.TokenRenewed(token="t", expires_at=1),
}


@pytest.mark.parametrize("event", DATA)
async def test_data_is_the_same_record_on_every_node(event: str) -> None:
    gateway = FakeGateway()
    method = methods_of(GatewayService)["deliver"]
    push = Push(event, DATA[event], "c", 1, 0, 1)
    sent = [
        Delivery([push], {"ann": 3}, "c", 1, 1, parted=["ann"], epoch="e"),
        Delivery([push], None, "c", 1, 1, later={"bob": Membership(4, [[1, 2], [5]])}, parted=[]),
        Delivery([], None, "c", 2, 1, members={"ann": [[1]]}, hot_at=7, later=None, parted=[]),
    ]
    await GatewayEndpoint(gateway).deliver(over_a_wire(sent, method))
    assert gateway.delivered == sent
    assert type(gateway.delivered[0].pushes[0].data) is type(DATA[event])


async def test_what_is_unknown_here_stays_as_it_came() -> None:
    gateway = FakeGateway()
    sent = [Delivery([Push("plugins.own", {"a": [1]})], {"ann": 3}, parted=[])]
    await GatewayEndpoint(gateway).deliver(over_a_wire(sent, methods_of(GatewayService)["deliver"]))
    assert gateway.delivered == sent


async def test_the_endpoint_passes_everything_on() -> None:
    gateway = FakeGateway(here={"s1", "ann"})
    endpoint = GatewayEndpoint(gateway)
    assert await endpoint.tell(SessionPush("s1", "b", Push("login", {"ticket": "t", "state": "scanned"})))
    await endpoint.note(EphemeralNote(["ann"], "typing", {}))
    assert list(await endpoint.online(["ann", "bob"])) == ["ann"]
    await endpoint.missed(3)
    assert (len(gateway.notes), gateway.misses) == (1, [3])
    assert GATEWAY == "gateway"


def over_a_wire(record: Any, method: Method) -> Any:
    return msgspec.msgpack.decode(msgspec.msgpack.encode(record), type=method.request)
