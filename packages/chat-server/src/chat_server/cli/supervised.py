"""A process of `chat-server --gateways`: how it learns where it listens, says that it is ready, and notices its end."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Iterable

import msgspec
from attrs import frozen
from chat_common.decoding import prepare

VARIABLE = "CHAT_SUPERVISED"


class Orders(msgspec.Struct, frozen=True):
    """``fd``: a socket to the parent. ``listen``: the Unix socket on which HTTP is answered; empty: the port that all
    gateways share. ``public_port``: where clients connect."""

    fd: int
    listen: str
    public_port: int


prepare(Orders)


@frozen
class Supervised:
    """What this process was started for; made in the child."""

    orders: Orders
    line: socket.socket

    @classmethod
    def here(cls) -> Supervised | None:
        """None: nobody supervises this process."""
        said = os.environ.pop(VARIABLE, None)
        if said is None:
            return None
        orders = msgspec.json.decode(said, type=Orders)
        return cls(orders, socket.socket(fileno=orders.fd))

    def listen(self, host: str, port: int, listen: Callable[[str, int, bool], socket.socket]) -> socket.socket:
        """The bound socket."""
        if not self.orders.listen:
            return listen(host, port, True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(self.orders.listen)
        return listener

    def ready(self, lines: Iterable[str]) -> None:
        """Tell the parent that clients may come, and what it may print."""
        self.line.sendall("\n".join(lines).encode() + b"\0")

    def watch(self, stop: Callable[[], None]) -> None:
        """Call ``stop`` when the parent is gone."""
        loop = asyncio.get_running_loop()
        self.line.setblocking(False)

        def gone() -> None:
            try:
                if self.line.recv(1024):
                    return
            except BlockingIOError:
                return
            except OSError:
                pass
            loop.remove_reader(self.line)
            stop()

        loop.add_reader(self.line, gone)
