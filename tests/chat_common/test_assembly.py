from __future__ import annotations

import asyncio
import contextvars
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from attrs import frozen
from chat_common.assembly import Assembly, AssemblyError
from chat_common.clock import ManualClock
from chat_common.hookspecs import hookimpl
from chat_common.plugins import PluginError, Plugins
from chat_common.records import Backend, Context
from chat_common.settings import Settings, setting


class Alpha: ...


class Beta: ...


class Gamma: ...


@frozen
class BetaSettings:
    size: int = setting(3, help="How big.")


Open = Callable[[Context], Awaitable[Any]]


def backend(port: type[Any], log: list[str], body: Open | None = None, name: str = "one", **extra: Any) -> Backend:
    @asynccontextmanager
    async def opened(context: Context) -> AsyncIterator[Any]:
        thing = port() if body is None else await body(context)
        log.append(f"+{port.__name__}")
        yield thing
        log.append(f"-{port.__name__}")

    extra.setdefault("default", True)
    return Backend(port, name, opened, **extra)


def assemble(*backends: Backend, mapping: dict[str, Any] | None = None) -> Assembly:
    class Plugin:
        @hookimpl
        def chat_backends(self) -> Sequence[Backend]:
            return backends

    plugins = Plugins.load([Plugin()], entry_points=False)
    return Assembly(plugins, Settings.read(plugins.sections(), mapping=mapping, environ={}), clock=ManualClock())


async def test_opened_once_on_demand_and_closed_in_reverse() -> None:
    log: list[str] = []

    async def needs_beta(context: Context) -> Alpha:
        await context.get(Beta)
        return Alpha()

    async with assemble(backend(Alpha, log, needs_beta), backend(Beta, log), backend(Gamma, log)) as assembly:
        assert log == []
        first, second = await asyncio.gather(assembly.get(Alpha), assembly.get(Alpha))
        assert first is second
        assert log == ["+Beta", "+Alpha"]
    assert log == ["+Beta", "+Alpha", "-Alpha", "-Beta"]


async def test_a_backend_gets_its_own_settings_and_the_clock() -> None:
    async def look(context: Context) -> Any:
        return context.settings, context.clock

    one = backend(Beta, [], look, settings=BetaSettings)
    async with assemble(one, mapping={"beta.one": {"size": 9}}) as assembly:
        settings, clock = await assembly.get(Beta)  # type: ignore[misc]
    assert settings == BetaSettings(9)
    assert isinstance(clock, ManualClock)


async def test_the_configuration_chooses() -> None:
    async def other(context: Context) -> Any:
        return "other"

    pair = [backend(Beta, []), backend(Beta, [], other, name="two", default=False)]
    async with assemble(*pair, mapping={"ports": {"beta": "two"}}) as assembly:
        assert await assembly.get(Beta) == "other"
    async with assemble(*pair, mapping={"ports": {"beta": ["two", "one"]}}) as assembly:
        assert list(await assembly.all(Beta)) == ["two", "one"]
        with pytest.raises(PluginError, match="one backend is needed, chosen: two, one"):
            await assembly.get(Beta)
    async with assemble(*pair, mapping={"ports": {"beta": []}}) as assembly:
        assert await assembly.all(Beta) == {}
        with pytest.raises(PluginError, match="chosen: none"):
            await assembly.get(Beta)


async def test_a_circle_is_named() -> None:
    async def needs(context: Context, port: type[Any]) -> Any:
        return await context.get(port)

    ring = [
        backend(Alpha, [], lambda context: needs(context, Beta)),
        backend(Beta, [], lambda context: needs(context, Gamma)),
        backend(Gamma, [], lambda context: needs(context, Alpha)),
    ]
    async with assemble(*ring) as assembly:
        with pytest.raises(AssemblyError, match=r"gamma.one → alpha.one → beta.one → gamma.one"):
            await assembly.get(Alpha)
        # Two that start at different ends at the same time would wait for each other for ever.
        results = await asyncio.gather(assembly.get(Alpha), assembly.get(Beta), return_exceptions=True)
        assert all(isinstance(result, AssemblyError) for result in results)


async def test_provided_objects_answer_first() -> None:
    async with assemble(backend(Alpha, [])) as assembly:
        alpha, gamma = Alpha(), Gamma()
        assembly.provide(Alpha, alpha)
        assembly.provide(Gamma, gamma)
        assert await assembly.get(Alpha) is alpha
        assert await assembly.get(Gamma) is gamma
        with pytest.raises(AssemblyError, match="provided twice"):
            assembly.provide(Alpha, alpha)
        with pytest.raises(PluginError, match="Nothing provides Beta"):
            await assembly.get(Beta)
        assert await assembly.all(Beta) == {}


async def test_a_failed_opening_is_raised_and_may_be_tried_again() -> None:
    tries = 0

    async def second_time(context: Context) -> Any:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise OSError("not yet")
        return "open"

    async with assemble(backend(Alpha, [], second_time)) as assembly:
        with pytest.raises(OSError, match="not yet"):
            await assembly.get(Alpha)
        assert await assembly.get(Alpha) == "open"


async def test_a_cancelled_asker_does_not_cancel_the_opening() -> None:
    go = asyncio.Event()

    async def slow(context: Context) -> Any:
        await go.wait()
        return "open"

    async with assemble(backend(Alpha, [], slow)) as assembly:
        asker = asyncio.create_task(assembly.get(Alpha))
        await asyncio.sleep(0)
        asker.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asker
        go.set()
        assert await assembly.get(Alpha) == "open"


async def test_leaving_while_something_is_opening() -> None:
    async def never(context: Context) -> Any:
        await asyncio.Event().wait()

    async with assemble(backend(Alpha, [], never)) as assembly:
        asker = asyncio.create_task(assembly.get(Alpha))
        await asyncio.sleep(0)
    with pytest.raises(AssemblyError, match=r"closed while alpha.one was opening"):
        await asker


async def test_a_backend_may_hold_a_task_group_and_its_death_is_told() -> None:
    die = asyncio.Event()

    @asynccontextmanager
    async def opened(context: Context) -> AsyncIterator[str]:
        async def work() -> None:
            await die.wait()
            raise OSError("the connection is gone")

        async with asyncio.TaskGroup() as group:
            group.create_task(work())
            yield "open"

    with pytest.raises(ExceptionGroup):  # noqa: PT012 - leaving raises it
        async with assemble(Backend(Alpha, "one", opened, default=True)) as assembly:
            # Entered from a task that is over long before the assembly is left.
            assert await asyncio.create_task(assembly.get(Alpha)) == "open"
            die.set()
            with pytest.raises(ExceptionGroup) as error:
                await assembly.failed()
            assert "alpha.one" in str(error.value.__notes__)


async def test_backends_do_not_inherit_the_askers_variables() -> None:
    variable = contextvars.ContextVar("variable", default="outside")

    async def look(context: Context) -> Any:
        return variable.get()

    async with assemble(backend(Alpha, [], look)) as assembly:
        variable.set("inside a request")
        assert await assembly.get(Alpha) == "outside"


async def test_outside_of_its_life() -> None:
    assembly = assemble(backend(Alpha, []))
    with pytest.raises(AssemblyError, match="not open"):
        await assembly.get(Alpha)
