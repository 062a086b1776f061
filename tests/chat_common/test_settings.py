from __future__ import annotations

from pathlib import Path
from typing import Annotated

import pytest
from attrs import Factory, frozen
from chat_common.settings import HIDDEN, KnownSection, Settings, SettingsError, setting
from msgspec import Meta


@frozen
class RedisCacheSettings:
    url: str = setting("redis://127.0.0.1", help="Where Redis is.", secret=True)
    pool: Annotated[int, Meta(ge=1)] = setting(50, help="Connections at most.")


@frozen
class GatewaySettings:
    heartbeat: float = setting(30.0, help="Seconds.")
    origins: tuple[str, ...] = setting((), help="Allowed origins.")
    compress: bool = setting(False, help="Whether to compress.")
    names: dict[str, int] = setting(Factory(dict), help="A table.")


@frozen
class PushSettings:
    key: str = setting(help="The signing key.", secret=True)


KNOWN = [
    KnownSection("gateway", GatewaySettings, "somebody"),
    KnownSection("cache.redis", RedisCacheSettings, "somebody"),
    KnownSection("push.web", PushSettings, "somebody"),
]


def read(mapping: object = None, environ: dict[str, str] | None = None, toml: Path | None = None) -> Settings:
    return Settings.read(KNOWN, mapping=mapping, environ=environ or {}, toml=toml)  # type: ignore[arg-type]


def test_defaults_without_any_source() -> None:
    assert read().section("gateway") == GatewaySettings()
    assert read().section("cache.redis").pool == 50


def test_later_sources_win(tmp_path: Path) -> None:
    toml = tmp_path / "chat.toml"
    toml.write_text('[gateway]\nheartbeat = 20\norigins = ["a"]\n[cache.redis]\npool = 2\n')
    settings = read(
        {"gateway": {"heartbeat": 10, "compress": True}, "cache.redis": {"pool": 1}},
        {"CHAT__CACHE__REDIS__POOL": "3", "PATH": "/bin"},
        toml,
    )
    assert settings.section("gateway") == GatewaySettings(heartbeat=20.0, origins=("a",), compress=True)
    assert settings.section("cache.redis").pool == 3


@pytest.mark.parametrize(
    ("variable", "text", "section", "key", "value"),
    [
        ("CHAT__GATEWAY__HEARTBEAT", "1.5", "gateway", "heartbeat", 1.5),
        ("CHAT__GATEWAY__COMPRESS", "true", "gateway", "compress", True),
        ("CHAT__GATEWAY__ORIGINS", "https://a, https://b", "gateway", "origins", ("https://a", "https://b")),
        ("CHAT__GATEWAY__ORIGINS", '["https://a,b"]', "gateway", "origins", ("https://a,b",)),
        ("CHAT__GATEWAY__NAMES", '{"a": 1}', "gateway", "names", {"a": 1}),
        ("CHAT__CACHE__REDIS__URL", "redis://elsewhere", "cache.redis", "url", "redis://elsewhere"),
    ],
)
def test_environment_text_becomes_what_the_field_wants(
    variable: str, text: str, section: str, key: str, value: object
) -> None:
    assert getattr(read(environ={variable: text}).section(section), key) == value


@pytest.mark.parametrize(
    ("mapping", "environ", "words"),
    [
        ({"gatway": {"heartbeat": 1}}, {}, ["[gatway]", "'gateway'"]),
        ({"gateway": {"hartbeat": 1}}, {}, ["[gateway] hartbeat", "'heartbeat'"]),
        ({"cache": {"reddis": {}}}, {}, ["[cache.reddis]", "'redis'"]),
        ({"cache": 1}, {}, ["[cache] is a section"]),
        ({"debug": True}, {}, ["unknown key debug"]),
        ({}, {"CHAT__GATEWAY__HARTBEAT": "1"}, ["CHAT__GATEWAY__HARTBEAT", "'hartbeat'", "'heartbeat'"]),
        ({}, {"CHAT__GATWAY__HEARTBEAT": "1"}, ["'gatway'", "'gateway'"]),
        ({}, {"CHAT__CACHE__REDDIS__POOL": "1"}, ["'reddis'", "'redis'"]),
        ({"gateway": {"heartbeat": "soon"}}, {}, ["mapping", "[gateway] heartbeat", "'soon'"]),
        ({"gateway": {"heartbeat": "30"}}, {}, ["[gateway] heartbeat"]),
        ({}, {"CHAT__CACHE__REDIS__POOL": "0"}, ["CHAT__CACHE__REDIS__POOL", ">= 1", "'0'"]),
    ],
)
def test_what_does_not_fit_is_named(mapping: object, environ: dict[str, str], words: list[str]) -> None:
    with pytest.raises(SettingsError) as error:
        read(mapping, environ)
    for word in words:
        assert word in str(error.value)


def test_a_required_key_is_asked_for_only_when_its_section_is_used() -> None:
    settings = read()
    with pytest.raises(SettingsError, match=r"\[push.web\] key is required: The signing key"):
        settings.section("push.web")
    assert read({"push.web": {"key": "k"}}).section("push.web").key == "k"


def test_an_unreadable_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"The configuration .*absent.toml cannot be read"):
        read(toml=tmp_path / "absent.toml")
    broken = tmp_path / "broken.toml"
    broken.write_text("[gateway\n")
    with pytest.raises(SettingsError, match="is not valid TOML"):
        read(toml=broken)


def test_secrets_are_never_printed() -> None:
    settings = read({"cache.redis": {"url": "redis://:password@host"}})
    assert "password" not in repr(settings.section("cache.redis"))
    lines = {(line.section, line.key): line for line in settings.listing()}
    assert "password" not in repr(lines)
    assert lines["cache.redis", "url"].value == HIDDEN
    with pytest.raises(SettingsError) as error:
        read({"push.web": {"key": ["password"]}})
    assert "password" not in str(error.value)


def test_the_listing_has_every_setting_with_its_source() -> None:
    lines = {(line.section, line.key): line for line in read({"gateway": {"heartbeat": 5}}).listing()}
    assert len(lines) == 7
    heartbeat = lines["gateway", "heartbeat"]
    assert (heartbeat.default, heartbeat.value, heartbeat.source) == (30.0, 5.0, "mapping")
    assert (heartbeat.type, heartbeat.help, heartbeat.owner) == ("float", "Seconds.", "somebody")
    assert heartbeat.variable == "CHAT__GATEWAY__HEARTBEAT"
    assert lines["push.web", "key"].required
    assert lines["cache.redis", "pool"].source == "default"


def test_sections_are_frozen() -> None:
    with pytest.raises(AttributeError):
        read().section("gateway").heartbeat = 1
