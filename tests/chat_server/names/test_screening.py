"""The name of somebody new passes the plugins' interceptors, wherever he comes in; what is refused is counted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from attrs import evolve
from chat_common.errors import NotPermitted
from chat_common.hookspecs import hookimpl
from chat_common.records import Caller, Context, Interceptor
from chat_common.wire import SubmitMessage

from tests.chat_server.auth.screens import press, site

GOOD = "correct horse"


async def politely(caller: Caller, message: SubmitMessage) -> SubmitMessage:
    if "rude" in message.body["text"].lower():
        raise NotPermitted("This word is not for here.")
    return evolve(message, body={"text": message.body["text"].replace("darn", "d***")})


class Polite:
    @hookimpl
    def chat_interceptors(self, context: Context) -> Sequence[Interceptor]:
        return [Interceptor("politely", "submit", politely)]


async def test_the_login_page_asks_the_interceptors(tmp_path: Path) -> None:
    async with site(tmp_path, plugins=[Polite()]) as here:
        phone, begun = here.browser(), await here.begin()
        refused = await press(phone, begun["url"], "create", name="Rude Joe")
        assert refused.status_code == 403
        assert "This word is not for here." in refused.text
        assert here.server.refusals.names == {("registration", "interceptor"): 1}
        reserved = await press(phone, begun["url"], "create", name="Admin")
        assert "reserved for who runs this server" in reserved.text
        mixed = await press(phone, begun["url"], "create", name="Z\u043e\u00e9")
        assert "may not be mixed" in mixed.text
        assert here.server.refusals.names["registration", "reserved"] == 1
        assert here.server.refusals.names["registration", "mixed"] == 1
        await press(phone, begun["url"], "create", name="darn Joe")
        made = (await here.state(begun["ticket"]))["user"]
        assert (made["name"], made["handle"]) == ("d*** Joe", "d.joe")


async def test_every_login_provider_asks_them_for_somebody_new_alone(tmp_path: Path) -> None:
    async with site(tmp_path, plugins=[Polite()]) as here:
        answer = await here.call("auth.dev", name="Rude Joe")
        assert (answer.status_code, answer.json()["message"]) == (403, "This word is not for here.")
        assert here.server.refusals.names == {("registration", "interceptor"): 1}
        soft = (await here.call("auth.dev", name="darn Joe")).json()["user"]
        assert soft["name"] == "d*** Joe"
        again = (await here.call("auth.dev", name="darn Joe")).json()["user"]
        assert again["user"] == soft["user"]
        known = await here.server.ensure_user("Rude Ann", provider="dev")
        assert (await here.call("auth.dev", name="Rude Ann")).json()["user"]["user"] == known.user


async def test_what_is_refused_is_in_the_metrics_by_act_and_reason(tmp_path: Path) -> None:
    async with site(tmp_path, plugins=[Polite()]) as here:
        ada = (await here.call("auth.dev", name="Ada")).json()["token"]
        for name in ("Admin", "Ad\u200ba", "Rude Ada"):
            assert (await here.call("user.rename", ada, name=name)).status_code >= 400
        assert (await here.call("group.create", ada, name="\u2800", members=[])).status_code == 400
        assert (await here.call("auth.register", name="Bob", handle="rude.bob", password=GOOD)).status_code == 403
        async with here.browser() as browser:
            text = (await browser.get("/metrics")).text
        lines = {line for line in text.splitlines() if line.startswith("chat_names_refused_total{")}
        assert lines == {
            'chat_names_refused_total{act="group",reason="blank"} 1.0',
            'chat_names_refused_total{act="registration",reason="interceptor"} 1.0',
            'chat_names_refused_total{act="rename",reason="characters"} 1.0',
            'chat_names_refused_total{act="rename",reason="interceptor"} 1.0',
            'chat_names_refused_total{act="rename",reason="reserved"} 1.0',
        }
