"""What a write to each of many sockets costs by itself: the floor of a fan-out with one message in flight.

    python bench/floor.py                 # 1,000 TCP connections, 200 bytes a write, 300 rounds

A round writes the same bytes to every connection, and the next begins when a process on the other core has read them
all: as with one message in flight, nothing can be joined. Printed is the CPU of the writing thread a write, in µs: by
`socket.send`, and by uvloop's `transport.write`.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import select
import socket
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import uvloop

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.process import LOAD_CORE, SERVER_CORE


def _pin(core: int) -> None:
    if core in os.sched_getaffinity(0):
        os.sched_setaffinity(0, {core})


def _read_for_ever(ends: Sequence[socket.socket], size: int, done: int) -> None:
    """The clients: say a byte on ``done`` each time that all have read ``size`` bytes."""
    _pin(LOAD_CORE)
    poll = select.epoll()
    for end in ends:
        poll.register(end, select.EPOLLIN)
    by_number = {end.fileno(): end for end in ends}
    missing = size * len(ends)
    while True:
        for number, _ in poll.poll():
            got = len(by_number[number].recv(65_536))
            if not got:
                return
            missing -= got
        if missing == 0:
            missing = size * len(ends)
            os.write(done, b".")


def _pairs(count: int) -> tuple[list[socket.socket], list[socket.socket]]:
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        outer, inner = [], []
        for _ in range(count):
            outer.append(socket.create_connection(listener.getsockname()))
            inner.append(listener.accept()[0])
    for end in inner:
        end.setblocking(False)
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return inner, outer


async def _rounds(writes: Sequence[Callable[[bytes], object]], payload: bytes, count: int, done: int) -> float:
    """The median over rounds of the CPU a write, in µs."""
    loop = asyncio.get_running_loop()
    costs = []
    for _ in range(count):
        came: asyncio.Future[None] = loop.create_future()
        loop.add_reader(done, lambda came=came: came.done() or came.set_result(None))
        before = time.thread_time()
        for write in writes:
            write(payload)
        costs.append((time.thread_time() - before) / len(writes) * 1e6)
        await came
        os.read(done, 1)
        loop.remove_reader(done)
    return statistics.median(costs)


async def _measure(ends: Sequence[socket.socket], size: int, count: int, done: int) -> None:
    payload = b"x" * size
    sends = [end.send for end in ends]
    print(f"socket.send: {await _rounds(sends, payload, count, done):.2f} µs")
    loop = asyncio.get_running_loop()
    transports = [(await loop.create_connection(asyncio.Protocol, sock=end))[0] for end in ends]
    writes = [transport.write for transport in transports]
    print(f"uvloop's transport.write: {await _rounds(writes, payload, count, done):.2f} µs")
    for transport in transports:
        transport.abort()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--members", type=int, default=1_000)
    parser.add_argument("--bytes", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=300)
    options = parser.parse_args()
    inner, outer = _pairs(options.members)
    done, told = os.pipe()
    if os.fork() == 0:
        for end in inner:
            end.close()
        _read_for_ever(outer, options.bytes, told)
        os._exit(0)
    for end in outer:
        end.close()
    _pin(SERVER_CORE)
    uvloop.run(_measure(inner, options.bytes, options.rounds, done))


if __name__ == "__main__":
    main()
