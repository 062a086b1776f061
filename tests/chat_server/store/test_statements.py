"""Statements compiled once: what they bind by themselves keeps its value, whatever the order of parameters."""

from __future__ import annotations

from chat_server.store.schema import meta
from chat_server.store.statements import CompiledStatement
from sqlalchemy import bindparam, select

from tests.chat_server.house import House

FIRST = CompiledStatement(
    select(meta.c.value).where(meta.c.key > bindparam("after"), meta.c.key < bindparam("before")).limit(1),
    "before",
    "after",
)


async def test_a_limit_is_no_parameter_of_the_caller(house: House) -> None:
    rows = [{"key": f"test {letter}", "value": letter} for letter in "abcd"]
    await house.database.change(lambda connection: connection.execute(meta.insert(), rows))
    found = await house.database.read(lambda connection: FIRST.all(connection, "test d", "test b"))
    assert [row.value for row in found] == ["c"]
