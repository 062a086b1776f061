"""How commands of the operator print what they found."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import click
import msgspec

AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def moment(ms: int) -> str:
    """A time as operators read it."""
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def show(record: Any, as_json: bool, lines: Sequence[str]) -> None:
    """Print a record as the commands answer it, as indented JSON, or else these lines."""
    click.echo(msgspec.json.format(msgspec.json.encode(record), indent=2).decode() if as_json else "\n".join(lines))
