"""Typed configuration: sections of attrs classes, read from several sources and frozen.

Each component owns one section, an attrs class whose fields are made by `setting`; a backend's section is
``[port.name]``, for example ``[cache.redis]``. Sources, later wins: a mapping in Python, a TOML file, the environment
(``CHAT__CACHE__REDIS__URL``, nested by ``__``). What nobody knows stops start-up and names the nearest known thing.

::

    @frozen
    class RedisCacheSettings:
        url: str = setting("redis://127.0.0.1", help="Where Redis is.", secret=True)
        pool: Annotated[int, Meta(ge=1)] = setting(50, help="Connections at most.")

    settings = Settings.read([KnownSection("cache.redis", RedisCacheSettings)], toml=Path("chat.toml"))
    settings.section("cache.redis").pool
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import attrs
import msgspec
from attrs import NOTHING, frozen

ENVIRONMENT_PREFIX = "CHAT__"
HIDDEN = "***"


class SetupError(Exception):
    """The server cannot be put together as asked. The message is for the person who starts it."""


class SettingsError(SetupError):
    """A section or key is unknown, or a value does not fit. Names the key, where it came from, and what is known."""


def setting(default: Any = NOTHING, *, help: str, secret: bool = False) -> Any:
    """A field of a settings class: its help text and, for passwords and keys, that it is never printed.

    ``default`` may be an `attrs.Factory`; without one the key is required as soon as the section is used.
    """
    shown: Any = (lambda value: HIDDEN if value else repr(value)) if secret else True
    return attrs.field(default=default, metadata={"help": help, "secret": secret}, repr=shown)


def nearest(word: str, known: Iterable[str]) -> str:
    """A tail for an error message: the nearest known word, or all of them when none is near."""
    words = sorted(known)
    near = difflib.get_close_matches(word, words, n=1, cutoff=0.5)
    if near:
        return f"did you mean {near[0]!r}?"
    return f"known: {', '.join(words)}" if words else "none is known"


@frozen
class KnownSection:
    """A section that exists: its dotted name, its attrs class, and who brought it."""

    name: str
    settings: type[Any]
    owner: str = ""
    summary: str = ""


@frozen
class Setting:
    """One line of `Settings.listing`. Values of secrets are hidden; ``required``: it has no default.

    ``source`` is ``default``, ``mapping``, the TOML file's name, or the variable of the environment.
    """

    section: str
    key: str
    type: str
    default: Any
    value: Any
    help: str
    owner: str
    secret: bool
    required: bool
    source: str

    @property
    def variable(self) -> str:
        """The environment variable that sets it."""
        return ENVIRONMENT_PREFIX + "__".join([*self.section.split("."), self.key]).upper()


class Settings:
    """All sections, read once and frozen. A component is handed its own section, never this object."""

    def __init__(self, known: Mapping[str, KnownSection], given: Mapping[str, Mapping[str, tuple[Any, str]]]) -> None:
        self._known = known
        self._given = given
        self._read: dict[str, Any] = {}
        for name, section in known.items():
            if given.get(name) or not _required(section.settings):
                self._read[name] = _convert(section, given.get(name, {}))

    @classmethod
    def read(
        cls,
        sections: Iterable[KnownSection],
        *,
        mapping: Mapping[str, Any] | None = None,
        toml: Path | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> Settings:
        """Read all sources and check them; raises `SettingsError`.

        ``mapping`` is nested as TOML is; dotted section names are as good. ``environ`` None: the process's own.
        """
        known = {section.name: section for section in sections}
        given: dict[str, dict[str, tuple[Any, str]]] = {}
        if mapping is not None:
            _collect(known, _nested(mapping), "mapping", given)
        if toml is not None:
            _collect(known, _load(toml), str(toml), given)
        _collect_environment(known, os.environ if environ is None else environ, given)
        return cls(known, given)

    def section(self, name: str) -> Any:
        """The settings object of this section; `SettingsError` when a required key is missing or nobody knows it."""
        if name not in self._read:
            if name not in self._known:
                raise SettingsError(f"no section [{name}]: {nearest(name, self._known)}")
            self._read[name] = _convert(self._known[name], self._given.get(name, {}))
        return self._read[name]

    def is_given(self, section: str, key: str) -> bool:
        """Whether any source sets this key, to its default or to another value."""
        return key in self._given.get(section, {})

    def listing(self) -> Sequence[Setting]:
        """Every setting there is, by section and in the order of its class."""
        lines = []
        for name in sorted(self._known):
            section, current = self._known[name], self._read.get(name)
            types = get_type_hints(section.settings)
            for attribute in attrs.fields(section.settings):
                secret = bool(attribute.metadata.get("secret", False))
                default = _default(attribute)
                value = default if current is None else getattr(current, attribute.name)
                required = default is NOTHING
                lines.append(
                    Setting(
                        section=name,
                        key=attribute.name,
                        type=_type_name(types[attribute.name]),
                        default=None if required else _shown(default, secret),
                        value=None if value is NOTHING else _shown(value, secret),
                        help=attribute.metadata.get("help", ""),
                        owner=section.owner,
                        secret=secret,
                        required=required,
                        source=self._given.get(name, {}).get(attribute.name, (None, "default"))[1],
                    )
                )
        return lines


def _default(attribute: attrs.Attribute[Any]) -> Any:
    default: Any = attribute.default
    return default.factory() if isinstance(default, attrs.Factory) else default  # type: ignore[arg-type]


def _required(settings: type[Any]) -> bool:
    return any(attribute.default is NOTHING for attribute in attrs.fields(settings))


def _shown(value: Any, secret: bool) -> Any:
    return HIDDEN if secret and value else value


def _type_name(kind: Any) -> str:
    return kind.__name__ if isinstance(kind, type) and get_origin(kind) is None else str(kind).replace("typing.", "")


def _load(path: Path) -> Mapping[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise SettingsError(f"The configuration {path} cannot be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not valid TOML: {error}") from error


def _nested(mapping: Mapping[str, Any]) -> Mapping[str, Any]:
    """Dotted section names become nested tables."""
    tree: dict[str, Any] = {}
    for name, value in mapping.items():
        *path, last = name.split(".")
        table = tree
        for part in path:
            table = table.setdefault(part, {})
        if isinstance(value, Mapping):
            table.setdefault(last, {}).update(_nested(value))
        else:
            table[last] = value
    return tree


def _collect(
    known: Mapping[str, KnownSection],
    tree: Mapping[str, Any],
    source: str,
    given: dict[str, dict[str, tuple[Any, str]]],
    path: str = "",
) -> None:
    """Sort the leaves of nested tables into the sections that own them."""
    fields = _keys(known, path)
    below = _below(known, path)
    for key, value in tree.items():
        name = f"{path}.{key}" if path else key
        if key in fields:
            given.setdefault(path, {})[key] = (value, source)
        elif key in below and isinstance(value, Mapping):
            _collect(known, value, source, given, name)
        elif key in below:
            raise SettingsError(f"{source}: [{name}] is a section, not a value: got {value!r}")
        elif isinstance(value, Mapping):
            raise SettingsError(f"{source}: unknown section [{name}]: {_advice(known, path, key)}")
        else:
            where = f"[{path}] {key}" if path else key
            raise SettingsError(f"{source}: unknown key {where}: {_advice(known, path, key)}")


def _collect_environment(
    known: Mapping[str, KnownSection], environ: Mapping[str, str], given: dict[str, dict[str, tuple[Any, str]]]
) -> None:
    for variable in sorted(environ):
        if not variable.upper().startswith(ENVIRONMENT_PREFIX):
            continue
        parts = variable[len(ENVIRONMENT_PREFIX) :].lower().split("__")
        path, key = ".".join(parts[:-1]), parts[-1]
        if key not in _keys(known, path):
            # The part that is wrong is the first that leads nowhere; the advice is about that one.
            at, wrong = "", key
            for part in parts[:-1]:
                if part not in _below(known, at):
                    wrong = part
                    break
                at = f"{at}.{part}" if at else part
            raise SettingsError(f"{variable}: unknown setting {wrong!r}: {_advice(known, at, wrong)}")
        section = known[path]
        value = _from_text(environ[variable], get_type_hints(section.settings)[key])
        given.setdefault(path, {})[key] = (value, variable)


def _from_text(text: str, kind: Any) -> Any:
    """Lists and tables from the environment: as JSON, lists also as ``a,b``. Everything else stays text."""
    stripped = text.strip()
    if not _accepts_collection(kind):
        return text
    if stripped[:1] in ("[", "{"):
        try:
            return msgspec.json.decode(stripped)
        except msgspec.DecodeError:
            return text
    if _accepts_text(kind) and "," not in stripped:
        return text
    return [part.strip() for part in stripped.split(",") if part.strip()]


def _accepts_collection(kind: Any) -> bool:
    info = msgspec.inspect.type_info(kind)
    options = info.types if isinstance(info, msgspec.inspect.UnionType) else (info,)
    collections = (
        msgspec.inspect.ListType,
        msgspec.inspect.VarTupleType,
        msgspec.inspect.TupleType,
        msgspec.inspect.SetType,
        msgspec.inspect.FrozenSetType,
        msgspec.inspect.DictType,
    )
    return any(isinstance(option, collections) for option in options)


def _accepts_text(kind: Any) -> bool:
    info = msgspec.inspect.type_info(kind)
    options = info.types if isinstance(info, msgspec.inspect.UnionType) else (info,)
    return any(isinstance(option, msgspec.inspect.StrType) for option in options)


def _keys(known: Mapping[str, KnownSection], path: str) -> set[str]:
    return {attribute.name for attribute in attrs.fields(known[path].settings)} if path in known else set()


def _below(known: Mapping[str, KnownSection], path: str) -> set[str]:
    prefix = f"{path}." if path else ""
    return {name[len(prefix) :].split(".")[0] for name in known if name.startswith(prefix)}


def _advice(known: Mapping[str, KnownSection], path: str, word: str) -> str:
    return nearest(word, _keys(known, path) | _below(known, path))


def _convert(section: KnownSection, given: Mapping[str, tuple[Any, str]]) -> Any:
    # Most sections are left as they are; to read the types of them all takes longer than all else at a start.
    types = get_type_hints(section.settings, include_extras=True) if given else {}
    values = {}
    for attribute in attrs.fields(section.settings):
        if attribute.name in given:
            value, source = given[attribute.name]
            try:
                # Text from the environment becomes a number or a boolean; a TOML file has types of its own.
                values[attribute.name] = msgspec.convert(
                    value, types[attribute.name], strict=not source.startswith(ENVIRONMENT_PREFIX)
                )
            except msgspec.ValidationError as error:
                secret = attribute.metadata.get("secret", False)
                shown = "" if secret else f", got {value!r}"
                wrong = _choice(types[attribute.name], value) or f"{error}{shown}"
                raise SettingsError(f"{source}: [{section.name}] {attribute.name}: {wrong}") from None
        elif attribute.default is NOTHING:
            raise SettingsError(f"[{section.name}] {attribute.name} is required: {attribute.metadata.get('help', '')}")
    try:
        return section.settings(**{_argument(section.settings, key): value for key, value in values.items()})
    except (ValueError, TypeError) as error:
        raise SettingsError(f"[{section.name}] {error}") from error


def _choice(kind: Any, value: Any) -> str | None:
    """What is wrong with a value that is not one of the words allowed; None for settings of other kinds."""
    if get_origin(kind) is not Literal:
        return None
    words = [repr(word) for word in get_args(kind) if word != ""]
    return f"{', '.join(words[:-1])} or {words[-1]} is expected, got {value!r}"


def _argument(settings: type[Any], key: str) -> str:
    return next(attribute.alias or key for attribute in attrs.fields(settings) if attribute.name == key)
