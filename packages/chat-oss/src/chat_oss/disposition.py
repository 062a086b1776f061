"""What an answer says about its content: `Content-Disposition` of RFC 6266 for names in any language, and its type."""

from __future__ import annotations

from urllib.parse import quote


def content_disposition(name: str | None, *, inline: bool) -> str:
    """What a browser does with a content and what it saves it as.

    The plain ``filename`` is for old clients: what is not harmless ASCII becomes ``_``; ``filename*`` carries the name,
    but for the slashes: it is not a path.
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


def content_type(type: str, *, utf8: bool) -> str:
    """The ``Content-Type`` of an answer. A browser guesses what a text is written in; it is told where that is known,
    and not where it may be GBK, Big5 or Shift-JIS: then a guess is better than a false word."""
    return f"{type}; charset=utf-8" if utf8 and type.startswith("text/") else type
