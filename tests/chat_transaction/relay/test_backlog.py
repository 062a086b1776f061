from __future__ import annotations

from chat_transaction.relay.backlog import Backlog


def test_a_place_that_was_read_to_its_end_has_caught_up() -> None:
    backlog: Backlog[str] = Backlog()
    assert not backlog
    backlog.leave("a")
    assert "a" in backlog
    assert list(backlog) == ["a"]
    backlog.begin(())
    assert not backlog.end(()), "there is nothing more to find"
    assert not backlog


def test_a_row_that_is_left_while_the_scan_runs_asks_for_another_scan() -> None:
    """The snapshot of the scan may be older than the row."""
    backlog: Backlog[str] = Backlog()
    backlog.leave("a")
    backlog.leave("b")
    backlog.begin(())
    backlog.leave("a")
    assert backlog.end(())
    assert list(backlog) == ["a"]
    backlog.begin(())
    assert not backlog.end(())


def test_a_blocked_place_stays_whatever_a_scan_reads() -> None:
    backlog: Backlog[str] = Backlog()
    backlog.leave("a")
    backlog.begin({"a"})
    assert not backlog.end({"a"}), "another scan would not read it either"
    assert "a" in backlog
    backlog.begin({"a"})
    assert backlog.end(()), "its time has come while the scan ran, which did not read it"


def test_places_that_others_have_left_wait_as_well() -> None:
    backlog: Backlog[str] = Backlog()
    backlog.expect({"a"})
    assert "a" in backlog
    backlog.begin(())
    assert not backlog.end(())
    assert not backlog
