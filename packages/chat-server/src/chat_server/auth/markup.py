"""The login pages as HTML. Every text goes through `escape`; there is no script and no inline style."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

from chat_common.ports.identity import Waiting

STYLE = """\
:root { color-scheme: light dark; }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 28rem; padding: 1.25rem; font: 1.0625rem/1.5 system-ui, sans-serif;
  background: Canvas; color: CanvasText; overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: .5rem 0 1rem; }
h2 { font-size: 1.125rem; margin: 0 0 .5rem; }
dl { display: grid; grid-template-columns: auto 1fr; gap: .25rem 1rem; margin: 0 0 1rem; }
dt { opacity: .8; }
dd { margin: 0; font-weight: 600; }
.beware { border-left: .25rem solid #d97706; padding: .25rem 0 .25rem .75rem; margin: 0 0 1.25rem; }
.error { border-left: .25rem solid #dc2626; padding: .25rem 0 .25rem .75rem; font-weight: 600; }
form { margin: 0 0 1rem; }
details, .box { border: 1px solid color-mix(in srgb, CanvasText 30%, Canvas); border-radius: .75rem; padding: .875rem;
  margin: 0 0 1rem; }
summary { font-weight: 600; cursor: pointer; }
details form { margin: .75rem 0 0; }
label { display: block; margin: 0 0 .75rem; }
input { display: block; width: 100%; font: inherit; padding: .625rem; border-radius: .5rem;
  border: 1px solid color-mix(in srgb, CanvasText 50%, Canvas); background: Canvas; color: CanvasText; }
button { width: 100%; min-height: 3rem; font: inherit; font-weight: 600; border-radius: .75rem; padding: .5rem 1rem;
  border: 1px solid color-mix(in srgb, CanvasText 50%, Canvas); background: Canvas; color: CanvasText; }
button.main { background: #0f766e; border-color: #0f766e; color: #fff; }
:focus-visible { outline: .1875rem solid #60a5fa; outline-offset: .125rem; }
small { display: block; opacity: .8; margin: 0 0 .75rem; }
"""


def page(language: str, title: str, body: str) -> str:
    """A whole document. ``body`` is markup."""
    return (
        f'<!doctype html><html lang="{language}"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="robots" content="noindex">'
        f'<title>{escape(title)}</title><link rel="stylesheet" href="style.css"></head>'
        f"<body><main><h1>{escape(title)}</h1>{body}</main></body></html>"
    )


def notice(text: str) -> str:
    """One paragraph."""
    return f"<p>{escape(text)}</p>"


def confirmation(
    t: Mapping[str, str],
    waiting: Waiting,
    *,
    age: int,
    host: str,
    csrf: str,
    known: str | None,
    registration: str,
    password: bool,
    error: str | None,
    name: str,
) -> str:
    """Who waits, what it means, and the ways to say yes or no."""
    device = waiting.device_name or waiting.platform or t["unnamed"]
    facts = [
        (t["device"], device),
        (t["address"], waiting.address or t["unknown"]),
        (t["age"], t["seconds"].format(n=age)),
        (t["here"], host),
    ]
    parts = ["<dl>", *(f"<dt>{escape(term)}</dt><dd>{escape(said)}</dd>" for term, said in facts), "</dl>"]
    parts.append(f'<p class="beware">{escape(t["beware"])}</p>')
    if error is not None:
        parts.append(f'<p class="error" role="alert">{escape(error)}</p>')
    if known is not None:
        parts.append(_form("confirm", csrf, _button(t["confirm"].format(name=known), main=True)))
    else:
        if registration == "closed":
            parts.append(notice(t["closed"]))
        else:
            form = _new(t, csrf, registration, password, name)
            parts.append(f'<section class="box"><h2>{escape(t["new"])}</h2>{form}</section>')
        if password:
            parts.append(_known(t, csrf, name, opened=registration == "closed"))
    parts.append(_form("refuse", csrf, _button(t["refuse"])))
    if known is not None:
        parts.append(_form("forget", csrf, _button(t["forget"])))
    return "".join(parts)


def _new(t: Mapping[str, str], csrf: str, registration: str, password: bool, name: str) -> str:
    fields = _field(t["name"], f'name="name" required maxlength="64" autocomplete="nickname" value="{escape(name)}"')
    if registration == "invite":
        fields += _field(t["invite"], 'name="invite" required maxlength="256" autocomplete="off"')
    if password:
        fields += _field(
            t["optional"],
            'name="password" type="password" minlength="8" maxlength="256" autocomplete="new-password"',
        )
        fields += f"<small>{escape(t['keepsake'])}</small>"
    return _form("create", csrf, fields + _button(t["create"], main=True))


def _known(t: Mapping[str, str], csrf: str, name: str, *, opened: bool) -> str:
    fields = _field(t["name"], f'name="name" required maxlength="64" autocomplete="username" value="{escape(name)}"')
    fields += _field(
        t["password"], 'name="password" type="password" required maxlength="256" autocomplete="current-password"'
    )
    form = _form("password", csrf, fields + _button(t["enter"], main=True))
    return f"<details{' open' if opened else ''}><summary>{escape(t['known'])}</summary>{form}</details>"


def _form(action: str, csrf: str, content: str) -> str:
    hidden = f'<input type="hidden" name="csrf" value="{escape(csrf)}">'
    return f'<form method="post">{hidden}<input type="hidden" name="action" value="{action}">{content}</form>'


def _field(label: str, attributes: str) -> str:
    return f"<label>{escape(label)}<input {attributes}></label>"


def _button(label: str, *, main: bool = False) -> str:
    return f'<button type="submit"{" class=main" if main else ""}>{escape(label)}</button>'
