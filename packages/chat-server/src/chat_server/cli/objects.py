"""The subcommands of the object store."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from chat_common.assembly import Assembly
from chat_common.plugins import Plugins
from chat_common.ports.objects import ObjectStore
from chat_common.settings import Settings, SetupError

from chat_server.cli.choice import Choice
from chat_server.cli.data import furnish, load


def prepare_store(choice: Choice) -> Sequence[str]:
    """Make what the chosen store needs, then ask it whether it works. Lines to print."""
    return asyncio.run(_prepare(*load(choice)))


async def _prepare(plugins: Plugins, settings: Settings) -> Sequence[str]:
    if ObjectStore not in plugins.ports():
        raise SetupError("No object store is installed: install the package interesting-chat-oss.")
    async with Assembly(plugins, settings) as assembly:
        furnish(assembly, settings)
        store = await assembly.get(ObjectStore)  # type: ignore[type-abstract]
        lines = await store.prepare(origins=settings.section("server").allowed_origins)
        await store.ready()
        return [*lines, "the object store is ready"]
