"""Whether a text holds a link. Which part of it is one is drawn by the clients' rules; this only says that there is
something to list."""

from __future__ import annotations

import re

_LINK = re.compile(r"https?://[^\s<>\"`]{2}|(?<![A-Za-z0-9.@/_-])www\.[A-Za-z0-9]", re.IGNORECASE)


def has_link(text: str) -> bool:
    return _LINK.search(text) is not None
