"""Records that several use cases of the room share."""

from __future__ import annotations

from attrs import define


@define(kw_only=True)
class Nothing:
    """No parameters, or an empty answer."""
