"""What a server says to whoever has started it, once it can be reached."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from pathlib import Path

from chat_server.auth.settings import with_preset
from chat_server.cli.data import is_embedded
from chat_server.server import Server


async def first_admin(server: Server) -> str | None:
    """The code for the link of the first admin; None where nobody needs it: somebody has an account, anybody may come
    in by a name alone, or nobody has a password here."""
    if server.settings.section("auth").dev or server.rooms.auth.accounts.hasher is None:
        return None
    return await server.rooms.admin.invites.first_admin()


def greeting(server: Server, url: str, code: str | None = None, *, terminal: bool | None = None) -> Sequence[str]:
    """The lines: the address first, then mode, data, what phones open, how to stop. With a QR code on a terminal
    (``terminal``; None: where standard output is one) if a phone can open the address. ``code``: see `first_admin`."""
    auth = with_preset(server.settings.section("auth"))
    address = server.public_address
    phone = address.url
    lines = [f"Interesting-Chat is ready: {url}"]
    if auth.dev:
        lines.append("  mode   trying out (--dev): anybody can log in as anybody, by a name alone")
    else:
        lines.append(f"  mode   people log in; registration is {auth.registration}")
        if code is None:
            lines.append("  admin  `chat-server user add NAME --role admin` makes one")
        else:
            link = f"{phone if address.reachable(phone) else url}/?invite={code}"
            lines.append(f"  admin  {link} makes the first one: once, within a day")
    lines.append(f"  data   {_data(server)}" if server.runs_rooms else "  roles  gateway: the rooms are on other nodes")
    if address.reachable(phone):
        lines.append(f"  phone  {phone}")
    else:
        lines.append("  phone  none can open this address: start with --host 0.0.0.0, or set server.public_url")
    lines.append("  stop   Ctrl+C")
    if address.reachable(phone) and (sys.stdout.isatty() if terminal is None else terminal):
        lines += ["", _code(phone)]
    return lines


def _data(server: Server) -> str:
    folder = str(Path(server.settings.section("server").data).resolve())
    return folder if is_embedded(server.settings) else f"{server.database.dialect}; files in {folder}"


def _code(url: str) -> str:
    import segno  # 20 ms, which no start without a terminal need wait for

    out = io.StringIO()
    segno.make(url, error="l", micro=False).terminal(out, compact=True, border=2)
    return out.getvalue().rstrip("\n")
