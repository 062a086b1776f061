"""What transactions share."""

from __future__ import annotations

from chat_server.store import tx


def test_ids_are_opaque_and_no_option_on_a_command_line() -> None:
    made = {tx.new_id() for _ in range(2_000)}
    assert len(made) == 2_000
    assert {len(one) for one in made} == {22}
    assert not [one for one in made if one.startswith("-")]
