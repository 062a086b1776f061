"""Addresses of PostgreSQL as its providers write them, as SQLAlchemy and asyncpg want them."""

from __future__ import annotations

import shlex
import ssl
from collections.abc import Mapping
from typing import Any

from attrs import field, frozen
from chat_common.settings import SetupError
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

DRIVER = "postgresql+asyncpg"
POOLERS = frozenset({6432, 6543})
"""Ports of PgBouncer, and of a provider's that is one: behind them each transaction may have another server."""
IGNORED = frozenset({"channel_binding", "gssencmode", "krbsrvname", "sslcompression", "sslnegotiation", "sslsni"})
"""Options of libpq that asyncpg has nothing for, and that change nothing of what is promised."""

_TLS = ("sslmode", "sslrootcert", "sslcert", "sslkey")


@frozen
class PostgresAddress:
    """``url`` for `create_async_engine`, ``arguments`` for asyncpg's ``connect``."""

    url: URL
    arguments: Mapping[str, Any] = field(factory=dict)
    pooled: bool = False
    """Whether a pooler in transaction mode stands in between: no statement is prepared for longer than its moment."""


def read_address(text: str) -> PostgresAddress:
    """``postgres://``, ``postgresql://`` or ``postgresql+asyncpg://`` with libpq's options; else `SetupError`.

    ``?pgbouncer=true``: the address is a pooler's in transaction mode; its usual ports are taken for it.
    """
    try:
        url = make_url(text.strip())
    except (ArgumentError, ValueError):
        raise _wrong("it is not an address such as postgresql://user:password@host/database") from None
    if url.drivername not in ("postgres", "postgresql", DRIVER):
        raise _wrong(f"{url.drivername}:// is not PostgreSQL by asyncpg: write postgresql://")
    options = {name: value if isinstance(value, str) else value[-1] for name, value in url.query.items()}
    arguments: dict[str, Any] = {}
    settings: dict[str, str] = {}
    pooled = _truth(options.pop("pgbouncer", str(url.port in POOLERS)), "pgbouncer")
    tls: dict[str, str] = {name: options.pop(name) for name in _TLS if name in options}
    if tls:
        arguments["ssl"] = _tls(tls)
    for name, value in options.items():
        if name == "connect_timeout":
            arguments["timeout"] = _seconds(value)
        elif name in ("application_name", "search_path"):
            settings[name] = value
        elif name == "options":
            settings.update(_session(value))
        elif name == "target_session_attrs":
            arguments[name] = value.replace("-", "_") if value == "read-only" else value
        elif name == "host":
            arguments[name] = value
        elif name not in IGNORED:
            raise _wrong(
                f"the option {name!r} is not known; known are application_name, connect_timeout, host, options,"
                " pgbouncer, search_path, sslcert, sslkey, sslmode, sslrootcert and target_session_attrs"
            )
    if settings:
        arguments["server_settings"] = settings
    if pooled:
        arguments |= {
            "statement_cache_size": 0,
            "prepared_statement_cache_size": 0,
            # Without a name a statement lives until the next one: nobody else's connection can meet it.
            "prepared_statement_name_func": str,
        }
    return PostgresAddress(url.set(drivername=DRIVER, query={}), arguments, pooled)


def _tls(options: Mapping[str, str]) -> Any:
    """What asyncpg takes as ``ssl`` for libpq's ``sslmode`` and its files."""
    mode = options.get("sslmode", "prefer")
    if mode == "disable":
        return False
    if mode in ("allow", "prefer") and len(options) == 1:
        return "prefer"
    if mode not in ("allow", "prefer", "require", "verify-ca", "verify-full"):
        raise _wrong(f"sslmode {mode!r} is not one of disable, allow, prefer, require, verify-ca, verify-full")
    root = options.get("sslrootcert", "")
    try:
        context = ssl.create_default_context(cafile=root if root not in ("", "system") else None)
        context.check_hostname = mode == "verify-full"
        # Whoever names a certificate authority wants it asked: so does libpq.
        if not mode.startswith("verify") and not root:
            context.verify_mode = ssl.CERT_NONE
        if "sslcert" in options:
            context.load_cert_chain(options["sslcert"], options.get("sslkey"))
    except (OSError, ssl.SSLError) as error:
        raise _wrong(f"its certificates cannot be read: {error}") from None
    return context


def _session(text: str) -> Mapping[str, str]:
    """``-c name=value -c name=value``."""
    words = shlex.split(text)
    found: dict[str, str] = {}
    for number, word in enumerate(words):
        pair = words[number + 1] if word == "-c" and number + 1 < len(words) else word.removeprefix("-c")
        name, equals, value = pair.removeprefix("--").partition("=")
        if equals:
            found[name] = value
        elif word != "-c":
            raise _wrong("options are written as -c name=value")
    return found


def _seconds(value: str) -> float:
    try:
        seconds = float(value)
    except ValueError:
        seconds = 0.0
    if seconds <= 0:
        raise _wrong(f"connect_timeout is a number of seconds above 0, not {value!r}")
    return seconds


def _truth(value: str, name: str) -> bool:
    if value.lower() not in ("true", "false", "1", "0"):
        raise _wrong(f"{name} is true or false, not {value!r}")
    return value.lower() in ("true", "1")


def _wrong(reason: str) -> SetupError:
    # The address itself may hold a password.
    return SetupError(f"[database.postgresql] url: {reason}")
