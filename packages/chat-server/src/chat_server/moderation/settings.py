"""The settings of moderation: ``[words]`` and ``[webhooks]``."""

from __future__ import annotations

from typing import Annotated, Literal

from attrs import Factory, define
from chat_common.settings import setting
from msgspec import Meta

MARKUP = frozenset("*_~`>#-+|[]()\\")
"""Characters that the markup of texts reads as marks."""


@define(kw_only=True)
class WordSettings:
    """Section ``[words]``. Each list is a UTF-8 text file, one entry a line."""

    refuse: list[str] = setting(
        Factory(list), help="Files of words with which nothing is taken: the sender is told so."
    )
    mask: list[str] = setting(Factory(list), help="Files of words that others do not get to read.")
    report: list[str] = setting(Factory(list), help="Files of words that are let through and reported to the admins.")
    reload: Annotated[float, Meta(gt=0)] = setting(5.0, help="Seconds between two looks whether a file has changed.")
    mask_with: str = setting("•", help="The character that stands for each one of a masked word.")

    def __attrs_post_init__(self) -> None:
        if len(self.mask_with) != 1 or self.mask_with in MARKUP or not self.mask_with.isprintable():
            raise ValueError("mask_with: one printable character that the markup of texts does not use")
        if self.mask_with.isspace():
            raise ValueError("mask_with: one character that is to be seen")


@define(kw_only=True)
class WebhookSettings:
    """Section ``[webhooks]``."""

    before: str = setting("", help="Address that is asked before anything said is taken; empty: nobody is asked.")
    timeout: Annotated[float, Meta(gt=0, le=30)] = setting(
        1.0, help="Seconds that the answer of `before` may take, from the connection to its end."
    )
    on_failure: Literal["open", "closed"] = setting(
        "closed", help="What happens where `before` does not answer as it should: let through, or refuse for now."
    )
    after: str = setting("", help="Address that is told of every message that was stored or changed; empty: nobody is.")
    after_timeout: Annotated[float, Meta(gt=0, le=60)] = setting(10.0, help="Seconds that one delivery may take.")
    attempts: Annotated[int, Meta(ge=1)] = setting(
        100, help="Attempts at one delivery of `after`, at last a minute apart, until its conversation is parked."
    )
    secret: str = setting(
        "",
        help="Key of the signatures: whsec_ and at least 24 bytes as base64. Better by the environment.",
        secret=True,
    )
    secret_file: str = setting("", help="A file that holds the secret, in place of `secret`.")
