"""Opens the chosen backends when somebody first asks for them, and closes them in reverse.

::

    async with Assembly(plugins, settings) as assembly:
        assembly.provide(ImService, im)       # what the composition root has built itself
        cache = await assembly.get(Cache)     # the backend that [ports] cache names, opened now
        providers = await assembly.all(IdentityProvider)   # {"dev": …, "qr": …}: ports with several backends
        context = assembly.context(owner)     # what a plugin's hooks and tasks get
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self, TypeVar, cast

from attrs import define, field

from chat_common.clock import Clock, SystemClock
from chat_common.plugins import PORTS, Owned, Owner, PluginError, Plugins, port_name, section_name
from chat_common.records import Backend
from chat_common.settings import Settings, SetupError

T = TypeVar("T")


class AssemblyError(SetupError):
    """Ports that need each other in a circle, or a port asked for after the end. The message names them."""


@define(eq=False)
class _Opening:
    """A backend on its way to being open, then open. ``waits_for`` are the openings that its factory awaits now."""

    backend: Owned[Backend]
    ready: asyncio.Future[Any]
    release: asyncio.Event = field(factory=asyncio.Event)
    task: asyncio.Task[None] | None = None
    waits_for: list[_Opening] = field(factory=list)

    @property
    def name(self) -> str:
        return f"{port_name(self.backend.record.port)}.{self.backend.record.name}"


class Assembly:
    """The open ports of one server. Enter it, ask it, leave it: all on one event loop.

    Each backend is entered and left in a task of its own, so its `open` may hold a `TaskGroup` or a timeout, whoever
    asked for it first. A backend that fails to open raises its error at everybody who asked, and may be asked again.
    """

    def __init__(self, plugins: Plugins, settings: Settings, *, clock: Clock | None = None) -> None:
        """Checks the whole ``[ports]`` section: `PluginError` for a backend name that nobody registered."""
        self._plugins = plugins
        self._settings = settings
        self._clock = clock or SystemClock()
        self._provided: dict[type[Any], Any] = {}
        self._openings: dict[tuple[type[Any], str], _Opening] = {}
        self._opened: list[_Opening] = []
        self._variables: contextvars.Context | None = None
        self._failed: asyncio.Future[None] | None = None
        for port in plugins.ports():
            self._chosen(port)

    @property
    def clock(self) -> Clock:
        return self._clock

    def provide(self, port: type[T], thing: T) -> None:
        """Answer `get(port)` with this object. It is not closed here. `AssemblyError` if the port has one already."""
        if port in self._provided:
            raise AssemblyError(f"{port.__name__} is provided twice.")
        self._provided[port] = thing

    async def get(self, port: type[T]) -> T:
        """The open object of this port; `SetupError` when nothing provides it or more than one backend is chosen."""
        return cast(T, await self._get(port, None))

    async def all(self, port: type[T]) -> Mapping[str, T]:
        """Every chosen backend of this port by name, open; empty when none is chosen or known."""
        return await self._all(port, None)

    def context(self, owner: Owner) -> View:
        """The context of a plugin's hooks and tasks: its own section, and `get`."""
        own = self._own(owner)
        return View(self, own, next(iter(own.values()), None), None)

    async def failed(self) -> None:
        """Never returns; raises what an open backend died of (a failed task inside it). To wait on beside serving."""
        await asyncio.shield(self._alive())

    async def __aenter__(self) -> Self:
        self._failed = asyncio.get_running_loop().create_future()
        # Backends must not inherit the variables of whichever request happened to open them.
        self._variables = contextvars.copy_context()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        failed, self._failed = self._alive(), None
        if not failed.done():
            failed.cancel()
        elif not failed.cancelled():
            failed.exception()  # it is raised below, from its task
        errors: list[Exception] = []
        for opening in list(self._openings.values()):
            if not opening.ready.done() and opening.task is not None:
                opening.task.cancel()
                await asyncio.wait([opening.task])
                if not opening.ready.done():
                    opening.ready.set_exception(AssemblyError(f"closed while {opening.name} was opening"))
        while self._opened:
            opening = self._opened.pop()
            opening.release.set()
            assert opening.task is not None
            try:
                await opening.task
            except Exception as problem:
                problem.add_note(f"while closing {opening.name}")
                errors.append(problem)
        self._openings.clear()
        if errors:
            raise ExceptionGroup("backends failed", errors) if len(errors) > 1 else errors[0]

    def _alive(self) -> asyncio.Future[None]:
        if self._failed is None:
            raise AssemblyError("The assembly is not open: enter it with `async with`.")
        return self._failed

    def _own(self, owner: Owner) -> Mapping[type[Any], Any]:
        return {section.settings: self._settings.section(section.name) for section in self._plugins.sections_of(owner)}

    def _chosen(self, port: type[Any]) -> list[Owned[Backend]]:
        choice = getattr(self._settings.section(PORTS), port_name(port), None)
        return list(self._plugins.chosen(port, choice))

    async def _get(self, port: type[Any], asker: _Opening | None) -> Any:
        if port in self._provided:
            return self._provided[port]
        chosen = self._chosen(port)
        if len(chosen) != 1:
            names = ", ".join(backend.record.name for backend in chosen) or "none"
            raise PluginError(f"[{PORTS}] {port_name(port)}: one backend is needed, chosen: {names}")
        return await self._object(chosen[0], asker)

    async def _all(self, port: type[T], asker: _Opening | None) -> Mapping[str, T]:
        if port not in self._plugins.ports():
            return {}
        return {backend.record.name: await self._object(backend, asker) for backend in self._chosen(port)}

    async def _object(self, backend: Owned[Backend], asker: _Opening | None) -> Any:
        self._alive()
        key = (backend.record.port, backend.record.name)
        opening = self._openings.get(key)
        if opening is None:
            opening = self._openings[key] = _Opening(backend, asyncio.get_running_loop().create_future())
            # Those who ask get the error; there may be nobody left to ask.
            opening.ready.add_done_callback(lambda done: done.cancelled() or done.exception())
            opening.task = asyncio.create_task(
                self._hold(opening), name=f"backend {opening.name}", context=self._variables
            )
        if asker is None or opening.ready.done():
            return await asyncio.shield(opening.ready)
        path = _path(opening, asker)
        if path is not None:
            names = " → ".join(step.name for step in [asker, *path])
            raise AssemblyError(f"These ports need each other in a circle: {names}.")
        asker.waits_for.append(opening)
        try:
            return await asyncio.shield(opening.ready)
        finally:
            asker.waits_for.remove(opening)

    async def _hold(self, opening: _Opening) -> None:
        record = opening.backend.record
        try:
            settings = None if record.settings is None else self._settings.section(section_name(record))
            async with record.open(View(self, self._own(opening.backend.owner), settings, opening)) as thing:
                self._opened.append(opening)
                opening.ready.set_result(thing)
                await opening.release.wait()
        except BaseException as error:
            if not opening.ready.done():
                del self._openings[record.port, record.name]
                if not isinstance(error, Exception):
                    raise
                opening.ready.set_exception(error)
                return
            if self._failed is not None and not self._failed.done() and isinstance(error, Exception):
                error.add_note(f"in the backend {opening.name}")
                self._failed.set_exception(error)
            raise


class View:
    """A `chat_common.records.Context`: the assembly as one component sees it, with its own settings alone.

    ``settings`` is a backend's section, or the first that the plugin registered; `get` answers for the plugin's own
    settings classes too.
    """

    __slots__ = ("_assembly", "_opening", "_own", "_settings")

    def __init__(
        self, assembly: Assembly, own: Mapping[type[Any], Any], settings: Any, opening: _Opening | None
    ) -> None:
        self._assembly, self._own, self._settings, self._opening = assembly, own, settings, opening

    @property
    def clock(self) -> Clock:
        return self._assembly.clock

    @property
    def settings(self) -> Any:
        return self._settings

    async def get(self, port: type[T]) -> T:
        if port in self._own:
            return cast(T, self._own[port])
        return cast(T, await self._assembly._get(port, self._opening))

    async def all(self, port: type[T]) -> Mapping[str, T]:
        return await self._assembly._all(port, self._opening)


def _path(start: _Opening, goal: _Opening) -> list[_Opening] | None:
    """How ``start`` comes to wait for ``goal``, both included; None when it does not."""
    if start is goal:
        return [goal]
    for step in start.waits_for:
        rest = _path(step, goal)
        if rest is not None:
            return [start, *rest]
    return None
