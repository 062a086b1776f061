"""Where things lie in the store.

``upload/<file>`` is what clients write to, as long as their links last; ``file/<content>/original | small | large`` is
what others read, written by the server alone, once, before anything refers to it.
"""

from __future__ import annotations

VARIANTS = ("original", "small", "large")


def staging_key(file: str) -> str:
    """What the client of this upload writes to."""
    return f"upload/{file}"


def content_key(content: str, variant: str) -> str:
    """One of the `VARIANTS` of a content."""
    return f"file/{content}/{variant}"
