"""What an answer says about its content: `Content-Disposition` of RFC 6266 for names in any language, and its type."""

from __future__ import annotations

from urllib.parse import quote


def content_disposition(name: str | None, *, inline: bool) -> str:
    """What a browser does with a content and what it saves it as.

    The plain ``filename`` is for old clients: what is not harmless ASCII becomes ``_``; ``filename*`` carries the name,
    but for the slashes: it is no path.
    """
    kind = "inline" if inline else "attachment"
    if not name:
        return kind
    plain = "".join(char if " " <= char <= "~" and char not in '"\\%/' else "_" for char in name)
    value = f'{kind}; filename="{plain}"'
    named = name.replace("/", "_").replace("\\", "_")
    if plain != named:
        value += f"; filename*=UTF-8''{quote(named, safe='')}"
    return value


def content_type(type: str) -> str:
    """The ``Content-Type`` of an answer. A browser would guess what a text is written in, from where it is read."""
    return f"{type}; charset=utf-8" if type.startswith("text/") else type
