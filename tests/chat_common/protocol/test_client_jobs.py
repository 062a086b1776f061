"""The calls that pay debts, and the pauses after errors."""

from __future__ import annotations

from chat_common.protocol.client_jobs import FIRST_PAUSE, LONGEST_PAUSE, PAGE, Job, Lacking, Pause, list_job, room_job
from chat_common.protocol.client_state import Room


def test_a_list_goes_on_at_its_cursor() -> None:
    assert list_job("list", None).params == {"limit": PAGE}
    job = list_job("contacts", "x")
    assert (job.command, job.params) == ("contact.list", {"limit": PAGE, "cursor": "x"})


def test_a_copy_that_has_not_begun_takes_the_newest_page_and_another_one_a_sync() -> None:
    room = Room("c", heard=7)
    assert (room_job(room, "e", 0).kind, room_job(room, "e", 0).command) == ("page", "history")
    room.rev = 5
    job = room_job(room, "e", 2)
    assert (job.kind, job.command, job.heard, job.mark) == ("room", "sync", 7, 2)
    assert job.params == {"epoch": "e", "conversation": "c", "rev": 5, "limit": PAGE}


def test_rows_that_the_list_lacks_are_asked_for_a_page_at_a_time_and_once() -> None:
    lacking = Lacking()
    assert lacking.job() is None
    for number in range(PAGE + 1):
        lacking.note(Room(f"c{number}"))
    job = lacking.job()
    assert job is not None
    assert (job.kind, job.command, job.name) == ("rows", "inbox.list", "rows")
    assert job.params == {"conversations": [f"c{number}" for number in range(PAGE)]}
    lacking.answered(job)  # Also those that the answer has left out.
    job = lacking.job()
    assert job is not None
    assert job.params == {"conversations": [f"c{PAGE}"]}
    lacking.clear()
    assert lacking.job() is None


def test_what_is_asked_for_has_a_name() -> None:
    assert Job("version", "sync", {}).name == "version"
    assert Job("room", "sync", {}, "c").name == Job("page", "history", {}, "c").name == "room:c"


def test_pauses_double_up_to_a_limit_and_heed_the_server() -> None:
    pause = Pause()
    waits = []
    for _ in range(10):
        pause.longer(100.0, None)
        waits.append(pause.until - 100.0)
    assert waits[:3] == [FIRST_PAUSE, 2 * FIRST_PAUSE, 4 * FIRST_PAUSE]
    assert waits[-1] == LONGEST_PAUSE
    pause.over()
    assert pause.until == 0.0
    pause.longer(100.0, 9.0)
    assert pause.until == 109.0
