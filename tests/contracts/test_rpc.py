from __future__ import annotations

import pytest
from chat_common.contracts import rpc as contract
from chat_common.memory.rpc import DirectRpc
from chat_common.ports.rpc import Method, Peer, chosen, methods_of

from tests.chat_server.rpc.nodes import two_nodes


@pytest.mark.parametrize("check", contract.checks(), ids=lambda check: check.__name__)
async def test_direct(check: contract.Check) -> None:
    others: dict[str, DirectRpc] = {}
    one, two = DirectRpc(others), DirectRpc(others)
    one.meet("one", {"two": Peer("", contract.SERVICES)})
    two.meet("two", {"one": Peer("", contract.SERVICES)})
    await check(one, two)


@pytest.mark.parametrize("check", contract.checks(), ids=lambda check: check.__name__)
async def test_grpc(check: contract.Check) -> None:
    async with two_nodes() as (one, two):
        await check(one, two)


async def test_the_checks_find_a_backend_that_shows_its_inside() -> None:
    class Careless(DirectRpc):
        async def call(self, service: str, method: str, record: object, of: Method, **others: object) -> object:
            two = self._others["two"]
            return await two.handlers.find(service, method)[1](record)

    others: dict[str, DirectRpc] = {}
    one, two = Careless(others), DirectRpc(others)
    two.meet("two", {})
    with pytest.raises(LookupError):
        await contract.any_other_error_is_unavailable_and_says_nothing(one, two)


def test_when_a_node_goes_only_its_keys_move() -> None:
    keys = [f"key{number}" for number in range(1_000)]
    before = {key: chosen(("a", "b", "c"), key)[0] for key in keys}
    after = {key: chosen(("a", "c"), key)[0] for key in keys}
    assert {key for key in keys if before[key] != after[key]} == {key for key in keys if before[key] == "b"}
    assert all(250 < list(before.values()).count(node) < 420 for node in "abc")


def test_a_method_of_a_service_takes_one_record() -> None:
    class Wrong:
        async def move(self, a: int, b: int) -> None: ...

    with pytest.raises(TypeError, match=r"Wrong\.move must take one record"):
        methods_of(Wrong)
