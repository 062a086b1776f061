"""How the measuring side counts what a process has taken."""

from __future__ import annotations

import os
import time

from bench.process import cpu_of


def test_the_cpu_of_a_process_is_its_own_account_of_it() -> None:
    before = time.process_time()
    counted = cpu_of(os.getpid())
    after = time.process_time()
    assert before <= counted <= after
