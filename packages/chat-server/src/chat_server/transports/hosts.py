"""By which names a server may be used: what stands against names that strangers point at it (DNS rebinding)."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence
from urllib.parse import urlsplit


class Hosts:
    """The name of ``public_url``, ``names`` (``*.`` at their front stands for any one below; ``*`` alone for all),
    localhost, this machine's own name, and every address: an address in a browser was not asked of any DNS."""

    def __init__(self, names: Sequence[str] = (), public_url: str = "") -> None:
        mine = socket.gethostname().lower()
        public = urlsplit(public_url).hostname
        self._names = {name.strip().lower().rstrip(".") for name in names} | {"localhost", mine, f"{mine}.local"}
        if public:
            self._names.add(public.lower())

    def knows(self, name: str) -> bool:
        """Whether this host name, without its port, is one of them."""
        name = name.lower().rstrip(".")
        if "*" in self._names or name in self._names or name.endswith(".localhost"):
            return True
        try:
            ipaddress.ip_address(name.strip("[]").partition("%")[0])
        except ValueError:
            return f"*.{name.partition('.')[2]}" in self._names
        return True
