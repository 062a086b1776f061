"""Which plugins there are, and what they register.

The composition root reads in this order::

    plugins = Plugins.load(extra=[my_module])                  # entry points, then the embedder's own objects
    settings = Settings.read(plugins.sections(), toml=path)    # backends' sections, plain ones, and [ports]
    async with Assembly(plugins, settings) as assembly:        # chat_common.assembly: opens backends on demand
        assembly.provide(ImService, im)                        # a service that the root itself has built
        outbox = await assembly.get(Outbox)
        contributed = plugins.contributions(assembly.context)  # commands, interceptors, tasks …

Every record comes as `Owned`: itself and who registered it. Names are unique; a duplicate stops start-up and names
both owners. A hook that no specification knows stops start-up too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from importlib import metadata
from types import ModuleType
from typing import Any, Generic, TypeVar

import attrs
import pluggy
from attrs import frozen

from chat_common import hookspecs
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
from chat_common.settings import KnownSection, SetupError, nearest, setting

R = TypeVar("R")

PORTS = "ports"
"""The section in which the configuration chooses a backend for each port."""


class PluginError(SetupError):
    """A plugin cannot be loaded, clashes with another, or something that is needed is not installed."""


@frozen
class Owner:
    """Who registered something: the plugin's module or name and, when installed, its distribution and version."""

    plugin: str
    distribution: str | None = None
    version: str | None = None

    def __str__(self) -> str:
        return f"{self.plugin} ({self.distribution} {self.version})" if self.distribution else self.plugin


@frozen
class Owned(Generic[R]):
    """A record and its owner."""

    record: R
    owner: Owner


@frozen
class Contributions:
    """What the hooks that take a context returned."""

    commands: Sequence[Owned[Command]]
    interceptors: Sequence[Owned[Interceptor]]
    observers: Sequence[Owned[Observer]]
    tasks: Sequence[Owned[Task]]
    ensured: Sequence[Owned[Ensured]]
    consumers: Sequence[Owned[Consumer]]
    routes: Sequence[Owned[Any]]


def port_name(port: type[Any]) -> str:
    """A port's name in the configuration: ``Cache`` → ``cache``, ``ObjectStore`` → ``object_store``."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", port.__name__).lower()


def section_name(backend: Backend) -> str:
    """``[port.name]``: the section of a backend that has settings."""
    return f"{port_name(backend.port)}.{backend.name}"


class Plugins:
    """The loaded plugins and their records that need no context: backends, sections, kinds, tables.

    Also the choice of backends: `chosen` says which of them the configuration names for a port.
    """

    def __init__(self, registered: Sequence[tuple[object, Owner]]) -> None:
        self._manager = pluggy.PluginManager(hookspecs.PROJECT)
        self._manager.add_hookspecs(hookspecs)
        self._registered = list(registered)
        for plugin, owner in self._registered:
            self._register(plugin, owner)
        self._check_hooks()
        self.backends = self._collect("chat_backends", Backend, lambda it: f"{port_name(it.port)} backend {it.name!r}")
        self._sections = self._collect("chat_sections", Section, lambda it: f"section [{it.name}]")
        self.kinds = self._collect("chat_kinds", ContentKind, lambda it: f"message kind {it.name!r}")
        self.items = self._collect("chat_items", CatalogueItem, lambda it: f"item {it.item!r}")
        self.tables = self._collect("chat_tables", Tables, lambda it: f"tables of {it.owner!r}")
        self._check_ports()

    @classmethod
    def load(cls, extra: Iterable[object] = (), *, entry_points: bool = True) -> Plugins:
        """Load what is installed (entry points ``chat_common.plugins``, by name) and what the embedder passes.

        ``extra``: modules or objects with `hookimpl` functions; an attribute ``chat_owner`` (`Owner`) may name them.
        `PluginError` when one cannot be imported.
        """
        found: list[tuple[object, Owner]] = []
        if entry_points:
            for entry in sorted(metadata.entry_points(group=hookspecs.ENTRY_POINTS), key=lambda entry: entry.name):
                owner = Owner(entry.value, entry.dist.name, entry.dist.version) if entry.dist else Owner(entry.value)
                try:
                    found.append((entry.load(), owner))
                except (ImportError, AttributeError) as error:
                    raise PluginError(f"The plugin {owner} cannot be loaded: {error}") from error
        found.extend((plugin, getattr(plugin, "chat_owner", None) or Owner(_name(plugin))) for plugin in extra)
        return cls(found)

    @property
    def owners(self) -> Sequence[Owner]:
        """Everybody who is loaded, in order."""
        return [owner for _, owner in self._registered]

    def sections(self) -> Sequence[KnownSection]:
        """All settings sections: for `Settings.read`. ``[ports]`` has a key for each port that has a backend."""
        found = [KnownSection(PORTS, self._ports_settings(), "chat_common", "Which backend serves each port.")]
        for plain in self._sections:
            found.append(KnownSection(plain.record.name, plain.record.settings, str(plain.owner), plain.record.summary))
        for backend in self.backends:
            if backend.record.settings is not None:
                name = section_name(backend.record)
                found.append(KnownSection(name, backend.record.settings, str(backend.owner), backend.record.summary))
        owners: dict[str, str] = {}
        for section in found:
            if section.name in owners:
                raise PluginError(
                    f"section [{section.name}] is registered twice: by {owners[section.name]} and by {section.owner}"
                )
            owners[section.name] = section.owner
        return found

    def sections_of(self, owner: Owner) -> Sequence[Section]:
        """The plain sections that this plugin registered."""
        return [section.record for section in self._sections if section.owner == owner]

    def require(self, port: type[Any], distribution: str) -> None:
        """`PluginError` naming ``distribution`` when no plugin provides ``port``."""
        if not self._backends_of(port):
            raise PluginError(f"Nothing provides {port.__name__}: install the package {distribution}.")

    def chosen(self, port: type[Any], choice: str | Sequence[str] | None) -> Sequence[Owned[Backend]]:
        """The backends that ``choice`` (the value of ``[ports]``) names; None: those that are the default.

        `PluginError` for a name that nobody registered, and when nothing provides the port.
        """
        known = self._backends_of(port)
        if not known:
            raise PluginError(f"Nothing provides {port.__name__}: no installed plugin has a backend for it.")
        if choice is None:
            return [backend for backend in known.values() if backend.record.default]
        names = [choice] if isinstance(choice, str) else choice
        for name in names:
            if name not in known:
                key = port_name(port)
                raise PluginError(f"[{PORTS}] {key}: no backend {name!r} for {key}: {nearest(name, known)}")
        return [known[name] for name in names]

    def ports(self) -> Sequence[type[Any]]:
        """Every port that has a backend, by name."""
        return sorted({backend.record.port for backend in self.backends}, key=port_name)

    def contributions(self, context: Callable[[Owner], Context]) -> Contributions:
        """Call the hooks that take a context, each plugin with its own (``context(owner)``)."""
        contexts: dict[Owner, Context] = {owner: context(owner) for owner in self.owners}
        return Contributions(
            commands=self._collect("chat_commands", Command, lambda it: f"command {it.name!r}", contexts),
            interceptors=self._collect(
                "chat_interceptors", Interceptor, lambda it: f"interceptor {it.name!r} at {it.point}", contexts
            ),
            observers=self._collect("chat_observers", Observer, lambda it: f"observer {it.name!r}", contexts),
            tasks=self._collect("chat_tasks", Task, lambda it: f"task {it.name!r}", contexts),
            ensured=self._collect(
                "chat_ensured", Ensured, lambda it: f"ensured {it.name!r} version {it.version}", contexts
            ),
            consumers=self._collect(
                "chat_consumers", Consumer, lambda it: f"consumer {it.group!r} of topic {it.topic!r}", contexts
            ),
            routes=self._collect("chat_routes", object, _route, contexts),
        )

    def _register(self, plugin: object, owner: Owner) -> None:
        if not isinstance(plugin, Hashable):
            raise PluginError(f"{owner} cannot be told from others: its class must be hashable (attrs: eq=False)")
        try:
            self._manager.register(plugin, name=str(owner))
        except pluggy.PluginValidationError as error:
            raise PluginError(f"{owner}: {error}") from error
        except ValueError as error:
            raise PluginError(f"{owner} is loaded twice.") from error

    def _check_hooks(self) -> None:
        try:
            self._manager.check_pending()
        except pluggy.PluginValidationError as error:
            hooks = [name for name in vars(hookspecs) if name.startswith("chat_")]
            word = next(iter(_unknown_hooks(error.plugin, hooks)), "")
            owner = self._manager.get_name(error.plugin)
            raise PluginError(f"{owner}: unknown hook {word!r}: {nearest(word, hooks)}") from error

    def _collect(
        self,
        hook: str,
        kind: type[R],
        name: Callable[[Any], str],
        contexts: Mapping[Owner, Context] | None = None,
    ) -> Sequence[Owned[R]]:
        found: list[Owned[R]] = []
        owners: dict[str, Owner] = {}
        everybody = [plugin for plugin, _ in self._registered]
        for plugin, owner in self._registered:
            others = [other for other in everybody if other is not plugin]
            call = self._manager.subset_hook_caller(hook, remove_plugins=others)
            try:
                results = call() if contexts is None else call(context=contexts[owner])
            except SetupError:
                raise
            except Exception as error:
                raise PluginError(f"{owner}: {hook} failed: {type(error).__name__}: {error}") from error
            for records in results:
                for record in records:
                    if not isinstance(record, kind):
                        raise PluginError(f"{owner}: {hook} returned {record!r}, not a {kind.__name__}")
                    said = name(record)
                    if said in owners:
                        raise PluginError(f"{said} is registered twice: by {owners[said]} and by {owner}.")
                    owners[said] = owner
                    found.append(Owned(record, owner))
        return found

    def _backends_of(self, port: type[Any]) -> dict[str, Owned[Backend]]:
        return {backend.record.name: backend for backend in self.backends if backend.record.port is port}

    def _check_ports(self) -> None:
        names: dict[str, type[Any]] = {}
        for port in self.ports():
            other = names.setdefault(port_name(port), port)
            if other is not port:
                raise PluginError(f"Two ports are called {port_name(port)}: {other!r} and {port!r}.")

    def _ports_settings(self) -> type[Any]:
        fields, hints = {}, {}
        for port in self.ports():
            known = self._backends_of(port)
            names = ", ".join(f"{name} ({item.owner.distribution or item.owner})" for name, item in known.items())
            defaults = [name for name, item in known.items() if item.record.default]
            default = defaults[0] if len(defaults) == 1 else (defaults or None)
            fields[port_name(port)] = setting(default, help=f"Backend, or list of them. Known: {names}.")
            hints[port_name(port)] = str | list[str] | None
        made = attrs.make_class("PortsSettings", fields, frozen=True, kw_only=True)
        made.__annotations__ = hints
        return made


def _unknown_hooks(plugin: object, hooks: Sequence[str]) -> Iterable[str]:
    for name in dir(plugin):
        if hasattr(getattr(plugin, name, None), f"{hookspecs.PROJECT}_impl") and name not in hooks:
            yield name


def _name(plugin: object) -> str:
    if isinstance(plugin, ModuleType):
        return plugin.__name__
    kind = plugin if isinstance(plugin, type) else type(plugin)
    return f"{kind.__module__}.{kind.__qualname__}"


def _route(route: Any) -> str:
    methods = getattr(route, "methods", None) or ["any method"]
    return f"route {getattr(route, 'path', route)!r} for {', '.join(sorted(methods))}"
