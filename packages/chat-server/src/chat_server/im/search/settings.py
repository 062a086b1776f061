"""How messages are searched."""

from __future__ import annotations

from attrs import define
from chat_common.settings import setting


@define(kw_only=True)
class SearchSettings:
    enabled: bool = setting(True, help="Whether messages are indexed, and can be searched.")
    every: float = setting(1.0, help="Seconds between two looks for messages that are not indexed yet.")
    portion: int = setting(300, help="Messages indexed in one transaction at most.")
    seconds: float = setting(2.0, help="How long one search may take; what takes longer is refused.")
    at_once: int = setting(2, help="Searches that run at the same time in one process; others wait.")
