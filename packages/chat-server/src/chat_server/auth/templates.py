"""The login pages as HTML. `Markup` escapes every text by its type; there is no script and no inline style."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import frozen
from chat_common.ports.identity import Waiting
from markupsafe import Markup

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


@frozen
class Confirmation:
    """What the confirming page shows.

    ``age`` in seconds since the login began; ``host``: this site; ``known``: the name of the person whom the phone
    remembers; ``registration`` as in the settings; ``password``: whether passwords are offered; ``error``: why the
    last press failed; ``name``: what was typed before.
    """

    waiting: Waiting
    age: int
    host: str
    csrf: str
    known: str | None
    registration: str
    password: bool
    error: str | None
    name: str


@frozen
class Departure:
    """What the page before another site shows; ``title``: the other site's. The rest as in `Confirmation`."""

    waiting: Waiting
    age: int
    host: str
    csrf: str
    title: str
    error: str | None


def page(language: str, title: str, body: Markup, style: str = "style.css") -> Markup:
    """Return a whole document."""
    return Markup(
        '<!doctype html><html lang="{language}"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="robots" content="noindex">'
        '<title>{title}</title><link rel="stylesheet" href="{style}"></head>'
        "<body><main><h1>{title}</h1>{body}</main></body></html>"
    ).format(language=language, title=title, body=body, style=style)


def notice(text: str) -> Markup:
    """Return one paragraph."""
    return Markup("<p>{}</p>").format(text)


def confirmation(t: Mapping[str, str], shown: Confirmation) -> Markup:
    """Return the page's body: who waits, what it means, and the ways to say yes or no."""
    csrf = shown.csrf
    parts = _facts(t, shown)
    if shown.known is not None:
        parts.append(_form("confirm", csrf, _button(t["confirm"].format(name=shown.known), main=True)))
    else:
        parts.append(_new(t, shown))
        if shown.password:
            parts.append(_known(t, shown))
    parts.append(_form("refuse", csrf, _button(t["refuse"])))
    if shown.known is not None:
        parts.append(_form("forget", csrf, _button(t["forget"])))
    return Markup("").join(parts)


def departure(t: Mapping[str, str], shown: Departure) -> Markup:
    """Return the body of the page before another site: who waits, what it means, and a press to go there."""
    parts = _facts(t, shown)
    parts.append(_form("go", shown.csrf, _button(t["go"].format(name=shown.title), main=True)))
    parts.append(_form("refuse", shown.csrf, _button(t["refuse"])))
    return Markup("").join(parts)


def going_on(t: Mapping[str, str], target: str, title: str) -> Markup:
    """Return the body of the page that leads to another site."""
    return Markup('<p><a href="{}">{}</a></p>').format(target, t["go"].format(name=title))


def _facts(t: Mapping[str, str], shown: Confirmation | Departure) -> list[Markup]:
    waiting = shown.waiting
    facts = [
        (t["device"], waiting.device_name or waiting.platform or t["unnamed"]),
        (t["address"], waiting.address or t["unknown"]),
        (t["age"], t["seconds"].format(n=shown.age)),
        (t["here"], shown.host),
    ]
    rows = Markup("").join(Markup("<dt>{}</dt><dd>{}</dd>").format(term, said) for term, said in facts)
    parts = [Markup("<dl>{}</dl>").format(rows), Markup('<p class="beware">{}</p>').format(t["beware"])]
    if shown.error is not None:
        parts.append(Markup('<p class="error" role="alert">{}</p>').format(shown.error))
    return parts


def _new(t: Mapping[str, str], shown: Confirmation) -> Markup:
    if shown.registration == "closed":
        return notice(t["closed"])
    fields = _field(t["name"], "name", shown.name, required="", maxlength="64", autocomplete="nickname")
    if shown.registration == "invite":
        fields += _field(t["invite"], "invite", required="", maxlength="256", autocomplete="off")
    if shown.password:
        limits = {"minlength": "8", "maxlength": "256", "autocomplete": "new-password"}
        fields += _field(t["optional"], "password", type="password", **limits)
        fields += Markup("<small>{}</small>").format(t["keepsake"])
    form = _form("create", shown.csrf, fields + _button(t["create"], main=True))
    return Markup('<section class="box"><h2>{}</h2>{}</section>').format(t["new"], form)


def _known(t: Mapping[str, str], shown: Confirmation) -> Markup:
    fields = _field(t["name"], "name", shown.name, required="", maxlength="64", autocomplete="username")
    limits = {"required": "", "maxlength": "256", "autocomplete": "current-password"}
    fields += _field(t["password"], "password", type="password", **limits)
    form = _form("password", shown.csrf, fields + _button(t["enter"], main=True))
    opened = Markup(" open") if shown.registration == "closed" else ""
    return Markup("<details{}><summary>{}</summary>{}</details>").format(opened, t["known"], form)


def _form(action: str, csrf: str, content: Markup) -> Markup:
    hidden = Markup('<input type="hidden" name="{}" value="{}">')
    return Markup('<form method="post">{}{}{}</form>').format(
        hidden.format("csrf", csrf), hidden.format("action", action), content
    )


def _field(label: str, name: str, value: str = "", **attributes: str) -> Markup:
    all_of_them = {"name": name, "value": value, **attributes}
    written = Markup(" ").join(Markup('{}="{}"').format(key, given) for key, given in all_of_them.items())
    return Markup("<label>{}<input {}></label>").format(label, written)


def _button(label: str, *, main: bool = False) -> Markup:
    return Markup('<button type="submit"{}>{}</button>').format(Markup(' class="main"') if main else "", label)
