"""What the name of somebody new passes: the operator's rules, the plugins' interceptors, and a count of what was
refused."""

from __future__ import annotations

from collections.abc import Callable

from attrs import frozen
from chat_common.errors import ChatError
from chat_common.records import Caller, Check
from chat_common.wire import OtherText, SubmitMessage

from chat_server.names.handles import NameRules


async def unscreened(caller: Caller, said: SubmitMessage) -> SubmitMessage:
    """Let everything pass, where there are no interceptors."""
    return said


@frozen
class Naming:
    """``screen``: the interceptors at the point `submit`. ``refused``: counts a registration that came by no command:
    those are counted where commands are run."""

    rules: NameRules
    screen: Check
    refused: Callable[[ChatError], None]

    async def screened(self, caller: Caller, name: str) -> str:
        """What the interceptors make of the name of somebody new; `ChatError`: one of them refuses it."""
        said = OtherText(conversation="", kind="text", body={"text": name}, target="user.name")
        return str((await self.screen(caller, said)).body["text"])
