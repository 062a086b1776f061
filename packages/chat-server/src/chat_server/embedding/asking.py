"""What is asked in process: a command by its name or by its request record, the parameters as a mapping or a record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
import msgspec
from chat_common.errors import Invalid

from chat_server.pipeline.dispatch import Entry


def read_request(commands: Mapping[str, Entry], command: Any, params: Any) -> tuple[str, Mapping[str, Any] | None]:
    """Return the command's name, and its parameters as a client would send them. `Invalid`: no command takes this
    record, several do, or it is neither a record nor a mapping."""
    if not isinstance(command, str):
        if params is not None:
            raise Invalid("params: a request record holds its parameters itself", field="params")
        command, params = _named_by(commands, command), command
    return command, None if params is None else _plain(params)


def _named_by(commands: Mapping[str, Entry], record: Any) -> str:
    kind = type(record)
    names = [name for name, entry in commands.items() if isinstance(record, entry.command.request)]
    if len(names) == 1:
        return names[0]
    if names:
        message = f"command: {', '.join(sorted(names))} all take {kind.__name__}: say which by its name"
    else:
        message = f"command: a name or a request record is needed, and no command takes {kind.__name__}"
    raise Invalid(message, field="command")


def _plain(params: Any) -> Mapping[str, Any]:
    if isinstance(params, Mapping) or attrs.has(type(params)):
        plain: Mapping[str, Any] = msgspec.to_builtins(params)
        return plain
    raise Invalid(f"params: a mapping or a record is needed, not {type(params).__name__}", field="params")
