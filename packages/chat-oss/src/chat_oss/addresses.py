"""Addresses in settings: what clients are sent to must be one before anybody is."""

from __future__ import annotations

from urllib.parse import urlsplit

from chat_common.settings import SetupError


def check_address(name: str, address: str, *, path: bool = False) -> str:
    """Return ``address``. `SetupError` names the setting when it is not one. ``path``: it may lead below the host."""
    if not _is_address(address, path):
        below = "/path" if path else ""
        raise SetupError(
            f"{name}: {address!r} is not an address. Write http://host:port{below} or https://host:port{below}."
        )
    return address


def _is_address(address: str, path: bool) -> bool:
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError:  # a port that is not a number, half an IPv6 address
        return False
    return (
        parts.scheme in ("http", "https")
        and bool(parts.hostname)
        and port != 0
        and "@" not in parts.netloc
        and not any(sign in address for sign in "?#")
        and address.isprintable()
        and " " not in address
        and (path or not parts.path.strip("/"))
    )
