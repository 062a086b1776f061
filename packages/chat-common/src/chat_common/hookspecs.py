"""The hooks of a plugin: synchronous, called once at start-up, each returns a list of records.

A plugin is a module (or object) named by the entry point group ``chat_common.plugins``; it marks its functions with
`hookimpl`. Nothing on the hot path calls pluggy.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pluggy

from chat_common.records import (
    Backend,
    CatalogueItem,
    Command,
    Consumer,
    ContentKind,
    Context,
    Ensured,
    Interceptor,
    Observer,
    Section,
    Tables,
    Task,
)

PROJECT = "chat"
"""The one name of the plugin project."""
ENTRY_POINTS = "chat_common.plugins"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def chat_backends() -> Sequence[Backend]:  # type: ignore[empty-body]
    """Ways to provide a port."""


@hookspec
def chat_sections() -> Sequence[Section]:  # type: ignore[empty-body]
    """Settings sections that belong to no backend."""


@hookspec
def chat_kinds() -> Sequence[ContentKind]:  # type: ignore[empty-body]
    """Message kinds."""


@hookspec
def chat_items() -> Sequence[CatalogueItem]:  # type: ignore[empty-body]
    """Items and badges that users can be given, where `[items] enabled` says so."""


@hookspec
def chat_tables() -> Sequence[Tables]:  # type: ignore[empty-body]
    """Tables with their migrations."""


@hookspec
def chat_commands(context: Context) -> Sequence[Command]:  # type: ignore[empty-body]
    """Client commands. ``await context.get(Port)`` belongs into the handler, not here."""


@hookspec
def chat_interceptors(context: Context) -> Sequence[Interceptor]:  # type: ignore[empty-body]
    """Interceptors of the pipeline."""


@hookspec
def chat_observers(context: Context) -> Sequence[Observer]:  # type: ignore[empty-body]
    """Observers of events."""


@hookspec
def chat_tasks(context: Context) -> Sequence[Task]:  # type: ignore[empty-body]
    """Background tasks."""


@hookspec
def chat_ensured(context: Context) -> Sequence[Ensured]:  # type: ignore[empty-body]
    """Functions that run after commit."""


@hookspec
def chat_consumers(context: Context) -> Sequence[Consumer]:  # type: ignore[empty-body]
    """Subscriptions to topics."""


@hookspec
def chat_routes(context: Context) -> Sequence[Any]:  # type: ignore[empty-body]
    """HTTP routes (Starlette `BaseRoute` objects), matched before the web client: pages, webhooks, a store's files."""
