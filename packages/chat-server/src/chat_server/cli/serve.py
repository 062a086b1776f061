"""Runs the server: one port for HTTP and WebSocket, drained when it is asked to stop."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import gc
import ipaddress
import signal
import socket
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import structlog
import uvicorn
from chat_common.settings import SetupError

from chat_server import logs
from chat_server.cli.choice import Choice
from chat_server.cli.greeting import first_admin, greeting
from chat_server.cli.supervised import Supervised
from chat_server.http.settings import HttpSettings
from chat_server.refusals import Refusals
from chat_server.server import Server
from chat_server.transports.admission import Admission, raise_file_limit
from chat_server.transports.http import HttpTransport
from chat_server.transports.settings import ConnectionSettings
from chat_server.transports.websocket import WebSocketTransport

log = structlog.get_logger("chat.server")

NO_ROOM = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
GRACE = 10
"""Seconds that HTTP answers get to end when the server stops."""


def serve(choice: Choice, dev: int = 0) -> int:
    """Run until SIGTERM or SIGINT; the exit code. ``dev``: how often ``--dev`` was said."""
    run(
        Server(
            # Names may be tried at will: without this the second one would wait for a rename card.
            settings={"auth": {"dev": True}, "items": {"enabled": True, "free_renames": True}} if dev else None,
            config=choice.config,
            environ=choice.environ,
        ),
        dev,
        Supervised.here(),
    )
    return 0


def run(server: Server, dev: int = 1, supervised: Supervised | None = None) -> None:
    """Run a server of one's own until SIGTERM or SIGINT, on the host and port of its settings.

    Prints its address in a line when it accepts connections, and a few lines for whoever has started it. ``dev`` 2: the
    login by name alone may be reached from other machines. `SetupError` when the address cannot be had.
    """
    server.standalone = True
    section = server.settings.section
    log_settings, http_settings = section("log"), section("http")
    logs.configure(log_settings.level, log_settings.style)
    host, port = section("server").host, section("server").port
    check_dev(host, dev, section("auth").dev)
    listener = listen(host, port) if supervised is None else supervised.listen(host, port, listen)

    def ready(url: str, code: str | None) -> None:
        lines = greeting(server, url, code)
        if supervised is None:
            print("\n".join(lines), flush=True)
        else:
            supervised.ready(lines)

    with asyncio.Runner(loop_factory=_loop_factory(http_settings)) as runner:
        runner.run(_serve(server, listener, host, ready, supervised))


def check_dev(host: str, dev: int, by_name: bool) -> None:
    """`SetupError` where others could come in by name alone, and nobody has said that they may."""
    if by_name and dev < 2 and not is_loopback(host):
        raise SetupError(
            f"--dev lets everybody in by name alone, and others can reach {host}: say it twice (--dev --dev) to mean it"
        )


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach that address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def listen(host: str, port: int, shared: bool = False) -> socket.socket:
    """A bound socket; ``shared``: other processes of this user may have the same port. `SetupError` says what is wrong
    with the address."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        raise SetupError(f"The server cannot listen on {host}: {error.strerror}.") from error
    listener = socket.socket(family, kind, protocol)
    # A restart must not wait for the former one's connections to time out.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if shared:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        listener.bind(address)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise SetupError(
                f"Port {port} on {host} is in use: choose another with --port, or 0 for a free one."
            ) from error
        raise SetupError(f"The server cannot listen on {host} port {port}: {error.strerror}.") from error
    return listener


async def _serve(
    server: Server,
    listener: socket.socket,
    host: str,
    ready: Callable[[str, str | None], None],
    supervised: Supervised | None,
) -> None:
    with listener:
        async with server:
            http: HttpSettings = server.settings.section("http")
            connections: ConnectionSettings = server.settings.section("connections")
            admission = Admission(connections, server.peers, server.refusals, files=raise_file_limit())
            config = uvicorn.Config(
                server.site,
                # Factories are all that uvicorn needs.
                ws=WebSocketTransport(  # type: ignore[arg-type]
                    server.gateway,
                    origins=server.origins,
                    admission=admission,
                )
                if server.runs_sockets
                else "none",
                http=HttpTransport(admission),  # type: ignore[arg-type]
                proxy_headers=False,  # `Peers` reads them, by the setting of ours.
                loop="none",
                lifespan="off",
                log_config=None,
                access_log=http.access_log,
                server_header=False,
                timeout_graceful_shutdown=GRACE,
            )
            web = _Web(config, server)
            port = listener.getsockname()[1] if supervised is None else supervised.orders.public_port
            server.public_address.listening(host, port)
            loop = asyncio.get_running_loop()
            loop.set_exception_handler(functools.partial(_loop_failed, server.refusals))
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, web.stop)
            shown = f"[{host}]" if ":" in host else host
            code = await first_admin(server) if server.runs_rooms else None
            web.ready = lambda: ready(f"http://{shown}:{port}", code)
            if supervised is not None:
                supervised.watch(web.stop)
            dying = asyncio.create_task(server.assembly.failed())
            dying.add_done_callback(lambda task: None if task.cancelled() else web.stop())
            # What stands now lives as long as the process: the collector need not walk it again and again. It is not
            # asked to walk it once before: that takes a tenth of a start, and finds a few hundred kilobytes.
            gc.freeze()
            gc.set_threshold(100_000, 50, 100)
            gc.enable()  # `main` has stopped it for the start.
            try:
                await web.serve([listener])
            finally:
                dying.cancel()
            if not dying.cancelled() and dying.done():
                dying.result()


def _loop_failed(refusals: Refusals, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """What no code of ours could catch. A connection that could not be accepted is one line a minute, not one each."""
    error = context.get("exception")
    if isinstance(error, OSError) and error.errno in NO_ROOM and "accept" in context.get("message", ""):
        refusals.note("accept", error=error.strerror or "")
    else:
        loop.default_exception_handler(context)


class _Web(uvicorn.Server):
    """uvicorn, with its signals and its end in our hands."""

    def __init__(self, config: uvicorn.Config, chat: Server) -> None:
        super().__init__(config)
        self._chat = chat
        self._hurry = asyncio.Event()
        self.ready: Callable[[], None] = lambda: None

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        # uvicorn would raise the signal again when it is done, which ends the process before the store is closed.
        yield

    def stop(self) -> None:
        """Drain; the second time: at once."""
        self.force_exit = self.should_exit
        if self.force_exit:
            self._hurry.set()
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._chat.stopping = True
        gateway = self._chat.gateway if self._chat.runs_sockets else None
        log.info("draining", sessions=gateway.stats()["sessions"] if gateway is not None else 0)
        await self._unless_hurried(asyncio.sleep(self._chat.settings.section("gateway").drain_wait))
        for listening in self.servers:
            listening.close()
        # Clients hear `bye` 4000 and running calls get their answer before any connection is closed.
        if gateway is not None:
            await self._unless_hurried(gateway.drain())
        await super().shutdown(sockets)
        log.info("stopped")

    async def _unless_hurried(self, step: Coroutine[Any, Any, None]) -> None:
        """This step, until somebody has asked to stop for the second time."""
        work, hurry = asyncio.ensure_future(step), asyncio.ensure_future(self._hurry.wait())
        await asyncio.wait((work, hurry), return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            hurry.cancel()
            work.result()
        else:
            work.cancel()
        await asyncio.gather(work, hurry, return_exceptions=True)


def _loop_factory(settings: HttpSettings) -> Callable[[], asyncio.AbstractEventLoop] | None:
    if settings.loop == "asyncio":
        return None
    try:
        import uvloop
    except ImportError:
        if settings.loop == "uvloop":
            raise SetupError("[http] loop: uvloop is not installed.") from None
        return None
    return uvloop.new_event_loop
