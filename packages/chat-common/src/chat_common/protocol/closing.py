"""The close codes, and which of them invite a client to come back."""

from __future__ import annotations

from enum import IntEnum

from chat_common.protocol.frames import Reconnect


class CloseCode(IntEnum):
    """Each is said in a `bye` before the close, where the socket can still be written."""

    GOING_AWAY = 4000
    SILENT = 4001
    TOO_SLOW = 4002
    NO_HELLO = 4008
    RESUMED_ELSEWHERE = 4009
    SESSION_OVER = 4100
    EPOCH_CHANGED = 4101
    ABUSE = 4400
    TOKEN_INVALID = 4401
    BANNED = 4403
    REPLACED = 4409


def reconnect_of(code: int) -> Reconnect:
    """What a client does after this close code: 40xx and the WebSocket's own resume, 41xx sync, 44xx never."""
    if 4400 <= code < 4500:
        return "never"
    if 4100 <= code < 4200:
        return "sync"
    return "resume"
