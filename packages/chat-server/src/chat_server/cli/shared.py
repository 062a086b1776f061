"""What all subcommands have: ``--config`` and ``--data``, and an end without a traceback."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from attrs import evolve
from chat_common.errors import ChatError, Unavailable
from chat_common.settings import SetupError

from chat_server.cli.choice import Choice

F = TypeVar("F", bound=Callable[..., Any])


class Group(click.Group):
    """Ends with the message alone when something cannot be set up: no traceback for a misspelt setting."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (SetupError, ChatError) as error:
            raise click.ClickException(sentence(error)) from error


def sentence(error: BaseException) -> str:
    """What is wrong, for an operator, who is told more than clients are: which database, which user, which file."""
    cause = error.__cause__ if isinstance(error, Unavailable) else None
    said = str(getattr(cause, "orig", None) or cause or "").strip().partition("\n")[0]
    return f"{error} ({said})" if said else str(error)


def shared(function: F) -> F:
    """``--config`` and ``--data``, before or after the subcommand."""
    function = click.option("--data", metavar="DIR", help="Folder for the database and files.")(function)
    path = click.Path(path_type=Path)
    return click.option("--config", type=path, metavar="FILE", help="A TOML file of settings.")(function)


def chosen(ctx: click.Context, config: Path | None, data: str | None) -> Choice:
    """The configuration that is meant, with what was said behind the subcommand on top."""
    above: Choice = ctx.obj
    return evolve(above, config=config or above.config, data=data or above.data)
