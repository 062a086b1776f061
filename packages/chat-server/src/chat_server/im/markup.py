"""The text of a markup without its marks, for previews, quotes and notifications.

The same rules as the clients' ``markup.js``, which draws it; both are tested with ``tests/shared/markup.json``.
"""

from __future__ import annotations

import re

_MARKS = ("**", "__", "~~", "*", "_")
_WORD = re.compile(r"[A-Za-z0-9\u00c0-\u024f]")  # a mark inside a Latin word or a number is a letter
_LINK = re.compile(r"(?:https?://|(?<![A-Za-z0-9.@/_-])www\.)[^\s<>\"`]+", re.IGNORECASE)
_FENCE = re.compile(r"```[\w+#-]{0,20}\s*")
_LIST = re.compile(r"(?:[-•]|\d{1,4}[.)])\s+(.*)")
_QUOTE = re.compile(r">\s?")
_DEPTH = 8
_CHARS = 2_000  # previews are shorter still


def plain(text: str, chars: int = _CHARS) -> str:
    """``text`` without marks; of a long one the first ``chars`` code points."""
    lines = text[:chars].split("\n")
    out: list[str] = []
    run: list[str] = []
    at = 0
    while at < len(lines):
        line = lines[at]
        end = _end_of_fence(lines, at)
        found = _LIST.fullmatch(line)
        if end or found or _QUOTE.match(line):
            _close(run, out)
        if end:
            out.append("\n".join(lines[at + 1 : end]))
            at = end
        elif found:
            out.append(_inline(found[1]))
        elif _QUOTE.match(line):
            quoted = []
            while at < len(lines) and _QUOTE.match(lines[at]):
                quoted.append(_QUOTE.sub("", lines[at], count=1))
                at += 1
            at -= 1
            out.append(_inline("\n".join(quoted)))
        else:
            run.append(line)
        at += 1
    _close(run, out)
    return "\n".join(out)


def _end_of_fence(lines: list[str], at: int) -> int:
    if not _FENCE.fullmatch(lines[at]) or "```" not in lines[at + 1 :]:
        return 0
    return lines.index("```", at + 1)


def _close(run: list[str], out: list[str]) -> None:
    if run:
        out.append(_inline("\n".join(run)))
        run.clear()


def _inline(text: str) -> str:
    """Marks pair up with the nearest opener of their kind; what has no partner stays text."""
    links = {found.start(): found.end() for found in _LINK.finditer(text)}
    out: list[str] = []
    opened: list[tuple[str, int]] = []  # the mark, and where in ``out`` it stands
    at = 0
    while at < len(text):
        if at in links:
            out.append(text[at : links[at]])
            at = links[at]
            continue
        if text[at] == "`":
            ticks = re.match(r"`{1,4}", text[at:])
            width = len(ticks[0]) if ticks else 1
            end = text.find("`" * width, at + width)
            if end > at + width:
                out.append(text[at + width : end])
                at = end + width
                continue
        if text[at] == "\\" and text[at + 1 : at + 2] in ("*", "_", "~", "`", "\\"):
            out.append(text[at + 1])
            at += 2
            continue
        mark = next((one for one in _MARKS if text.startswith(one, at)), None)
        if mark is None:
            out.append(text[at])
            at += 1
            continue
        before, after = text[at - 1 : at] or " ", text[at + len(mark) : at + len(mark) + 1] or " "
        inside = bool(_WORD.match(before) and _WORD.match(after))
        opener = next((n for n in range(len(opened) - 1, -1, -1) if opened[n][0] == mark), -1)
        if opener >= 0 and not before.isspace() and not inside and len(out) > opened[opener][1] + 1:
            del out[opened[opener][1]]
            del opened[opener:]
        elif not after.isspace() and not inside and len(opened) < _DEPTH:
            opened.append((mark, len(out)))
            out.append(mark)
        else:
            out.append(mark)
        at += len(mark)
    return "".join(out)
