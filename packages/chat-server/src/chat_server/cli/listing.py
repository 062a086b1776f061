"""What `plugins` and `config` print."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any

import msgspec
from chat_common.assembly import Assembly
from chat_common.clock import SystemClock
from chat_common.codec.json import JsonCodec
from chat_common.plugins import PORTS, Contributions, Plugins, port_name
from chat_common.settings import Setting, Settings

from chat_server.cli.choice import Choice
from chat_server.cli.data import load
from chat_server.moderation.moderation import Moderation
from chat_server.pipeline.chain import POINTS
from chat_server.pipeline.dispatch import Pipeline
from chat_server.refusals import Refusals


class _NoReplies:
    async def get(self, user: str, ref: str) -> tuple[bytes, bytes] | None:
        return None

    async def put(self, user: str, ref: str, digest: bytes, result: bytes) -> None: ...


def plugin_lines(choice: Choice) -> Sequence[str]:
    """Plugins, ports, the real pipeline, and what plugins contribute."""
    plugins, settings = load(choice)
    contributed = asyncio.run(_contributions(plugins, settings))
    clock = SystemClock()
    moderation = Moderation(settings.section("words"), settings.section("webhooks"), clock, Refusals(clock))
    interceptors = [*contributed.interceptors, *moderation.interceptors()]
    pipeline = Pipeline(contributed.commands, interceptors, codec=JsonCodec(), clock=clock, replies=_NoReplies())
    lines = ["Plugins"]
    lines += _table((owner.plugin, owner.distribution or "-", owner.version or "-") for owner in plugins.owners)
    lines += ["", "Ports (* chosen)"]
    chosen = settings.section(PORTS)
    backends = []
    for port in plugins.ports():
        picked = {it.record.name for it in plugins.chosen(port, getattr(chosen, port_name(port)))}
        for it in plugins.backends:
            if it.record.port is port:
                mark = "*" if it.record.name in picked else " "
                backends.append((port_name(port), f"{mark} {it.record.name}", it.record.summary, it.owner))
    lines += _table(backends)
    lines += ["", "Pipeline, in the order in which it runs"]
    stages = sorted(pipeline.describe(), key=lambda stage: POINTS.index(stage.interceptor.point))
    lines += _table(
        (
            stage.interceptor.point,
            stage.interceptor.order,
            stage.interceptor.name,
            f"waits up to {stage.interceptor.timeout:g} s" if stage.waits else "plain",
            f"fail-{stage.interceptor.on_error}",
            stage.owner,
        )
        for stage in stages
    )
    for title, records in (
        ("Commands of plugins", contributed.commands),
        ("Message kinds", plugins.kinds),
        ("Observers", contributed.observers),
        ("Tasks", contributed.tasks),
        ("Ensured", contributed.ensured),
    ):
        if records:
            lines += ["", title, *_table((it.record.name, it.owner) for it in records)]
    return lines


async def _contributions(plugins: Plugins, settings: Settings) -> Contributions:
    async with Assembly(plugins, settings) as assembly:
        return plugins.contributions(assembly.context)


def settings_lines(choice: Choice) -> Sequence[str]:
    """The configuration as TOML, each value with its default, source, owner and help beside it."""
    lines: list[str] = []
    for section, settings in groupby(load(choice)[1].listing(), key=lambda line: line.section):
        lines.append(f"[{section}]")
        for line in settings:
            if line.source == "default":
                whence = "required, not set" if line.required else "default"
            else:
                whence = f"default {_toml(line.default)}, set by {line.source}" if not line.required else line.source
            lines.append(f"# {line.help} ({line.type}; {whence}; {line.owner}; {line.variable})")
            unset = line.value is None or (line.required and line.source == "default")
            lines.append(f"# {line.key} =" if unset else f"{line.key} = {_toml(line.value)}")
        lines.append("")
    return lines


def settings_page() -> str:
    """The reference page ``docs/reference/settings.md``: every setting with its default, nothing of this machine."""
    plugins = Plugins.load()
    known = Settings.read(plugins.sections(), environ={})
    summaries = {section.name: section.summary for section in plugins.sections()}
    lines = [
        "# Settings",
        "",
        "Sources, later wins: a mapping in Python, a TOML file (`--config`), the environment. An unknown section or key"
        " stops the start and names the nearest known one.",
        "",
    ]
    for section, settings in groupby(known.listing(), key=lambda line: line.section):
        rows = list(settings)
        lines += [f"## `[{section}]`", "", f"{summaries[section]} Owner: {_name(rows[0].owner)}.".strip(), ""]
        lines += ["| key | type | default | what it does | environment |", "|---|---|---|---|---|"]
        lines += [_row(row) for row in rows]
        lines.append("")
    return "\n".join(lines).rstrip()


def _row(line: Setting) -> str:
    default = "**required**" if line.required else f"`{_toml(line.default)}`"
    kind = line.type.replace("|", "\\|")
    text = line.help.replace("|", "\\|")
    return f"| `{line.key}` | `{kind}` | {default} | {text} | `{line.variable}` |"


def _name(owner: str) -> str:
    # Without the version: the page must not change with every release.
    return f"`{owner.split(' ')[0]}`"


def _toml(value: Any) -> str:
    return "none" if value is None else msgspec.json.encode(value).decode()


def _table(rows: Iterable[Iterable[Any]]) -> list[str]:
    cells = [[str(cell) for cell in row] for row in rows]
    widths = [max(len(row[n]) for row in cells) for n in range(len(cells[0]))] if cells else []
    return [
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells
    ]
