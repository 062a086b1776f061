from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from attrs import define, frozen
from chat_common.assembly import Assembly
from chat_common.hookspecs import hookimpl
from chat_common.plugins import Owner, PluginError, Plugins, port_name
from chat_common.ports.outbox import Outbox
from chat_common.records import Backend, Caller, Command, Context, Section
from chat_common.settings import Settings, setting


class ObjectStore: ...


@asynccontextmanager
async def opened(context: Context) -> AsyncIterator[str]:
    yield "an object"


@frozen
class ShoutSettings:
    volume: int = setting(3, help="How loud.")


@frozen
class Nothing:
    pass


async def answer(caller: Caller, request: Any) -> Nothing:
    return Nothing()


def backends(*names: str, **extra: Any) -> object:
    class Plugin:
        @hookimpl
        def chat_backends(self) -> Sequence[Backend]:
            return [Backend(ObjectStore, name, opened, **extra) for name in names]

    return Plugin()


class Shout:
    """A plugin with a section and a command whose handler uses it."""

    @hookimpl
    def chat_sections(self) -> Sequence[Section]:
        return [Section("shout", ShoutSettings)]

    @hookimpl
    def chat_commands(self, context: Context) -> Sequence[Command]:
        return [Command(f"shout.{context.settings.volume}", Nothing, Nothing, answer)]


def load(*extra: object) -> Plugins:
    return Plugins.load(extra, entry_points=False)


def test_port_names() -> None:
    assert port_name(ObjectStore) == "object_store"
    assert port_name(Outbox) == "outbox"


async def test_records_come_with_their_owner_and_own_settings() -> None:
    plugins = load(Shout(), backends("local"))
    settings = Settings.read(plugins.sections(), mapping={"shout": {"volume": 7}}, environ={})
    async with Assembly(plugins, settings) as assembly:
        contributed = plugins.contributions(assembly.context)
    assert [owned.record.name for owned in contributed.commands] == ["shout.7"]
    assert contributed.commands[0].owner.plugin.endswith("Shout")
    assert contributed.interceptors == []


def test_a_duplicate_names_both_owners() -> None:
    class Other(Shout): ...

    class Third:
        @hookimpl
        def chat_backends(self) -> Sequence[Backend]:
            return [Backend(ObjectStore, "local", opened)]

    with pytest.raises(PluginError) as error:
        load(Shout(), Other())
    assert "section [shout]" in str(error.value)
    assert "test_plugins.Shout" in str(error.value)
    assert "Other" in str(error.value)
    with pytest.raises(
        PluginError, match=r"object_store backend 'local' is registered twice: by .*Plugin and by .*Third"
    ):
        load(backends("local"), Third())


def test_a_backend_and_a_section_cannot_share_a_name() -> None:
    class Clash:
        @hookimpl
        def chat_sections(self) -> Sequence[Section]:
            return [Section("object_store.local", ShoutSettings)]

    with pytest.raises(PluginError, match=r"\[object_store.local\] is registered twice"):
        load(backends("local", settings=ShoutSettings), Clash()).sections()


def test_two_plugins_of_one_name_are_refused() -> None:
    with pytest.raises(PluginError, match="loaded twice"):
        load(Shout(), Shout())


def test_a_plugin_without_a_hash_is_refused() -> None:
    @define
    class Values:
        number: int = 1

    with pytest.raises(PluginError, match=r"Values cannot be told from others: .*eq=False"):
        Plugins.load([Values()], entry_points=False)


def test_a_misspelt_hook_names_the_nearest() -> None:
    class Misspelt:
        @hookimpl
        def chat_comands(self) -> Sequence[Command]:
            return []

    with pytest.raises(PluginError, match=r"Misspelt: unknown hook 'chat_comands': did you mean 'chat_commands'"):
        load(Misspelt())


def test_a_hook_that_returns_something_else_is_refused() -> None:
    class Wrong:
        @hookimpl
        def chat_sections(self) -> Sequence[Any]:
            return ["shout"]

    with pytest.raises(PluginError, match="chat_sections returned 'shout', not a Section"):
        load(Wrong())


def test_the_default_and_the_configured_backend() -> None:
    plugins = load(backends("s3", "minio"))
    assert [it.record.name for it in plugins.chosen(ObjectStore, ["minio", "s3"])] == ["minio", "s3"]
    assert list(plugins.chosen(ObjectStore, None)) == []
    assert [it.record.name for it in load(backends("local", default=True)).chosen(ObjectStore, None)] == ["local"]


def test_an_unknown_backend_names_the_nearest_known() -> None:
    plugins = load(backends("local", "minio"))
    with pytest.raises(PluginError, match=r"\[ports\] object_store: no backend 'mino' .* did you mean 'minio'"):
        Assembly(plugins, Settings.read(plugins.sections(), mapping={"ports": {"object_store": "mino"}}, environ={}))


def test_an_unknown_port_names_the_nearest_known() -> None:
    plugins = load(backends("local"))
    with pytest.raises(Exception, match=r"\[ports\] object_stor: did you mean 'object_store'"):
        Settings.read(plugins.sections(), mapping={"ports": {"object_stor": "local"}}, environ={})


def test_a_missing_mandatory_port_names_the_package() -> None:
    plugins = load(backends("local"))
    with pytest.raises(PluginError, match="Nothing provides Outbox: install the package interesting-chat-transaction"):
        plugins.require(Outbox, "interesting-chat-transaction")
    plugins.require(ObjectStore, "anything")


def test_an_entry_point_that_cannot_be_loaded_names_its_distribution(monkeypatch: pytest.MonkeyPatch) -> None:
    def load_it() -> object:
        raise ImportError("No module named 'elsewhere'")

    entry = SimpleNamespace(
        name="x", value="chat_x.plugin", dist=SimpleNamespace(name="chat-x", version="1.2"), load=load_it
    )
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: [entry])
    with pytest.raises(
        PluginError, match=r"chat_x.plugin \(chat-x 1.2\) cannot be loaded: No module named 'elsewhere'"
    ):
        Plugins.load()


def test_entry_points_keep_distribution_and_version(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = SimpleNamespace(
        name="x", value="chat_x.plugin", dist=SimpleNamespace(name="chat-x", version="1.2"), load=Shout
    )
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: [entry])
    assert Plugins.load().owners == [Owner("chat_x.plugin", "chat-x", "1.2")]


def test_an_object_may_say_whose_it_is() -> None:
    plugin = Shout()
    plugin.chat_owner = Owner("rooms", "ours", "1")  # type: ignore[attr-defined]
    assert load(plugin).owners == [Owner("rooms", "ours", "1")]
