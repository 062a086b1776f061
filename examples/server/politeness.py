"""A plugin in one file: an interceptor that keeps shouting out, and a command that counts what it stopped."""

from __future__ import annotations

from collections import Counter

from attrs import define
from chat_common.errors import NotPermitted
from chat_common.hookspecs import hookimpl
from chat_common.records import Caller, Command, Context, Interceptor
from chat_common.wire import SubmitMessage

stopped: Counter[str] = Counter()


@define(kw_only=True)
class Nothing:
    """No parameters."""


@define(kw_only=True)
class Count:
    """How many messages of the caller were stopped."""

    stopped: int


def no_shouting(caller: Caller, message: SubmitMessage) -> SubmitMessage:
    """Refuses a text that is all capitals; anything else goes on as it is."""
    text = message.body.get("text") if isinstance(message.body, dict) else None
    if isinstance(text, str) and len(text) > 3 and text.isupper():
        stopped[caller.user or ""] += 1
        raise NotPermitted("please do not shout", field="body.text")
    return message


async def count(caller: Caller, request: Nothing) -> Count:
    return Count(stopped=stopped[caller.user or ""])


@hookimpl
def chat_interceptors(context: Context) -> list[Interceptor]:
    return [Interceptor("no_shouting", "submit", no_shouting)]


@hookimpl
def chat_commands(context: Context) -> list[Command]:
    return [Command("politeness.count", Nothing, Count, count, summary="How often one was too loud.")]
