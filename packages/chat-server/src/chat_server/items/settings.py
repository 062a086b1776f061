"""The settings of items: ``[items]``."""

from __future__ import annotations

from typing import Any

from attrs import Factory, define
from chat_common.settings import setting


@define(kw_only=True)
class ItemSettings:
    """Section ``[items]``."""

    enabled: bool = setting(False, help="Whether users are given items and badges. Off: its commands answer so.")
    free_renames: bool = setting(False, help="Whether a rename costs no rename card.")
    catalogue: dict[str, dict[str, Any]] = setting(
        Factory(dict),
        help="Items beside those of the plugins, or in their place, by id: kind (card, badge), name (by language),"
        " picture, grant (on, when, count).",
    )
