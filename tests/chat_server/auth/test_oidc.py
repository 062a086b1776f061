"""Logging in at an OpenID Connect issuer, end to end against the stand-in; and everything it must not be fooled by."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from html import unescape
from pathlib import Path
from typing import Any

import httpx2
import pytest
from attrs import define
from chat_common.settings import SetupError
from chat_server.auth import oidc
from chat_server.auth.oidc import OidcSettings
from chat_server.auth.public_address import PublicAddress
from joserfc.jwk import RSAKey

from tests.chat_server.auth.screens import CSRF, Site, site
from tests.standins.oidc import CLIENT, SECRET, Issuer, an_ec, another_rsa, by_public_key, code_of, issuer, unsigned
from tests.support.logged import listen, logged


@define
class Stage:
    here: Site
    issuer: Issuer

    async def begin(self) -> dict[str, Any]:
        answer = await self.here.call("auth.begin", provider="oidc")
        assert answer.status_code == 200, answer.text
        return answer.json()  # type: ignore[no-any-return]

    async def press(self, browser: httpx2.AsyncClient, url: str, action: str = "go") -> httpx2.Response:
        shown = await browser.get(url)
        assert shown.status_code == 200, shown.text
        return await browser.post(url, data={"csrf": CSRF.search(shown.text)[1], "action": action})  # type: ignore[index]

    async def back(self, browser: httpx2.AsyncClient, url: str) -> str:
        """Press, go to the issuer, and return the address to which it sends the browser back."""
        going = await self.press(browser, url)
        target = unescape(re.search(r'<a href="([^"]+)"', going.text)[1])  # type: ignore[index]
        assert going.headers["refresh"] == f"0;url={target}"
        assert target.startswith(f"{self.issuer.url}/authorize?")
        async with httpx2.AsyncClient() as outside:
            return (await outside.get(target)).headers["location"]  # type: ignore[no-any-return]

    async def log_in(self, browser: httpx2.AsyncClient | None = None) -> tuple[httpx2.Response, dict[str, Any]]:
        """The last page, and how the ticket stands."""
        browser = browser or self.here.browser()
        begun = await self.begin()
        page = await browser.get(await self.back(browser, begun["url"]))
        return page, await self.here.state(begun["ticket"])


@asynccontextmanager
async def stage(folder: Path, **settings: Any) -> AsyncIterator[Stage]:
    async with issuer() as made:
        chosen = {"issuer": made.url, "client_id": CLIENT, "client_secret": SECRET, **settings.pop("oidc", {})}
        merged = {"ports": {"identity_provider": ["oidc"]}, "identity_provider": {"oidc": chosen}, **settings}
        async with site(folder, settings=merged) as here:
            yield Stage(here, made)


async def test_somebody_logs_in_and_is_the_same_the_next_time(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        page, state = await on.log_in()
        assert "Logged in" in page.text
        assert state["user"]["name"] == "Ada Lovelace"
        assert (await on.here.call("user.me", state["token"])).json() == state["user"]
        _, again = await on.log_in()
        assert again["user"] == state["user"]
        listed = (await on.here.call("auth.devices", again["token"])).json()["devices"]
        assert {each["provider"] for each in listed} == {"oidc"}
        on.issuer.person = {"sub": "person-8", "name": "Ada Lovelace"}
        assert (await on.log_in())[1]["user"]["user"] != state["user"]["user"]
        assert on.issuer.calls.count("discovery") == 1


async def test_the_page_before_says_who_waits_and_where_it_leads(tmp_path: Path) -> None:
    async with stage(tmp_path, oidc={"title": "Works & Co"}) as on:
        begun = (
            await on.here.call("auth.begin", provider="oidc", device={"id": "tv", "name": "<b>Kitchen</b>"})
        ).json()
        assert begun["expires_in"] == 600
        assert begun["url"] == f"{on.here.url}/login/oidc/{code_of(begun['url'])}"
        browser = on.here.browser()
        shown = await browser.get(begun["url"])
        assert "&lt;b&gt;Kitchen" in shown.text
        assert "Go on with Works &amp; Co" in shown.text
        assert 'href="../style.css"' in shown.text
        assert await on.here.state(begun["ticket"]) == {"state": "scanned"}
        assert "Refused" in (await on.press(browser, begun["url"], "refuse")).text
        assert await on.here.state(begun["ticket"]) == {"state": "refused"}


async def test_a_name_is_asked_for_where_the_token_has_none(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        on.issuer.person = {"sub": "person-7"}
        on.issuer.userinfo = {"name": "Ada\u202eL.\n"}
        assert (await on.log_in())[1]["user"]["name"] == "Ada L."
    async with stage(tmp_path / "other") as on:
        on.issuer.person = {"sub": "person-7"}
        on.issuer.userinfo = {"name": "Eve", "sub": "somebody else"}
        assert (await on.log_in())[1]["state"] == "refused"


@pytest.mark.parametrize(
    ("settings", "document", "public"),
    [
        ({"client_secret": ""}, {}, True),
        ({}, {"token_endpoint_auth_methods_supported": ["client_secret_post"]}, False),
        ({}, {"token_endpoint_auth_methods_supported": ["client_secret_basic"]}, False),
    ],
)
async def test_ways_to_prove_the_client(
    tmp_path: Path, settings: dict[str, Any], document: dict[str, Any], public: bool
) -> None:
    async with stage(tmp_path, oidc=settings) as on:
        on.issuer.document, on.issuer.public = document, public
        assert (await on.log_in())[1]["state"] == "succeeded"


async def test_other_algorithms_and_new_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with stage(tmp_path) as on:
        assert (await on.log_in())[1]["state"] == "succeeded"
        on.issuer.keys, on.issuer.algorithm = [an_ec(), another_rsa("k2")], "ES256"
        assert (await on.log_in())[1]["state"] == "refused", "asked for a moment ago"
        assert on.issuer.calls.count("keys") == 1
        monkeypatch.setattr(oidc, "KEYS_EVERY", 0.0)
        assert (await on.log_in())[1]["state"] == "succeeded"
        on.issuer.faults["keys"] = "down"
        assert (await on.log_in())[1]["state"] == "succeeded", "the old ones stay"


PROMISE = "authorization_response_iss_parameter_supported"


def publish(on: Issuer, *keys: Any, **header: Any) -> None:
    on.published = list(keys)
    on.header.update(header)


FORGED: dict[str, Any] = {
    "no algorithm": lambda on: setattr(on, "signing", unsigned),
    "the public key as a secret": lambda on: setattr(on, "signing", by_public_key(on)),
    "a foreign key": lambda on: setattr(on, "published", [another_rsa()]),
    "an unknown kid": lambda on: on.header.update(kid="../k1"),
    "no kid and two keys": lambda on: publish(on, on.keys[0], another_rsa("x"), kid=None),
    "an encryption key": lambda on: publish(on, RSAKey.import_key({**on.keys[0].as_dict(private=False), "use": "enc"})),
    "another issuer": lambda on: on.claims.update(iss="https://evil.example"),
    "an issuer with a slash": lambda on: on.claims.update(iss=f"{on.url}/"),
    "another audience": lambda on: on.claims.update(aud="another"),
    "several audiences": lambda on: on.claims.update(aud=[CLIENT, "another"]),
    "made for another": lambda on: on.claims.update(azp="another"),
    "several, made for another": lambda on: on.claims.update(aud=[CLIENT, "another"], azp="another"),
    "no audience": lambda on: on.claims.update(aud=None),
    "expired": lambda on: on.claims.update(exp=lambda now: now - 120),
    "no end": lambda on: on.claims.update(exp=None),
    "from the future": lambda on: on.claims.update(iat=lambda now: now + 600),
    "another nonce": lambda on: on.claims.update(nonce="another"),
    "no nonce": lambda on: on.claims.update(nonce=None),
    "a nonce that is no text": lambda on: on.claims.update(nonce=["x"]),
    "another at_hash": lambda on: on.claims.update(at_hash="another"),
    "no subject": lambda on: on.claims.update(sub=None),
    "an empty subject": lambda on: on.claims.update(sub=""),
    "a long subject": lambda on: on.claims.update(sub="x" * 256),
    "the answer of another issuer": lambda on: setattr(on, "with_iss", "https://evil.example"),
    "no issuer where it promises one": lambda on: on.document.update({PROMISE: True}),
    "a code that is refused": lambda on: setattr(on, "token_error", "invalid_grant"),
}  # fmt: skip


@pytest.mark.parametrize("trick", FORGED)
async def test_nobody_gets_in_by(tmp_path: Path, trick: str) -> None:
    async with stage(tmp_path) as on:
        FORGED[trick](on.issuer)
        page, state = await on.log_in()
        assert state == {"state": "refused"}
        assert page.status_code == 401
        assert "did not say who you are" in page.text


async def test_clocks_may_differ_by_a_minute(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        on.issuer.claims = {"exp": lambda now: now - 30, "iat": lambda now: now + 30}
        assert (await on.log_in())[1]["state"] == "succeeded"


async def test_who_says_no_there_is_refused_here(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        on.issuer.person = None
        page, state = await on.log_in()
        assert state == {"state": "refused"}
        assert "<b>no</b>" not in page.text
        assert "token" not in on.issuer.calls


@pytest.mark.parametrize("call", ["token", "keys"])
@pytest.mark.parametrize("fault", ["down", "html", "large", "slow"])
async def test_a_site_in_trouble_is_told_to_a_person(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, fault: str
) -> None:
    monkeypatch.setattr("chat_server.auth.sites.SECONDS", 0.5)
    async with stage(tmp_path) as on:
        on.issuer.faults[call] = fault
        page, state = await on.log_in()
        assert (page.status_code, state) == (503, {"state": "refused"})
        assert "does not answer" in page.text


@pytest.mark.parametrize(
    "document",
    [
        {"issuer": "https://evil.example"},
        {"token_endpoint": "http://evil.example/token"},
        {"jwks_uri": None},
        {"authorization_endpoint": "https://evil.example/\r\nset-cookie: x"},
        {"userinfo_endpoint": "ftp://evil.example"},
    ],
    ids=str,
)
async def test_a_discovery_that_is_not_right_begins_nothing(tmp_path: Path, document: dict[str, Any]) -> None:
    async with stage(tmp_path) as on:
        on.issuer.document = document
        answer = await on.here.call("auth.begin", provider="oidc")
        assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")


async def test_without_the_issuer_the_server_starts_and_says_unavailable(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        on.issuer.faults["discovery"] = "down"
        assert (await on.here.call("auth.begin", provider="oidc")).status_code == 503
        on.issuer.faults.clear()
        assert (await on.log_in())[1]["state"] == "succeeded"


async def test_the_way_back_is_good_once_and_in_the_browser_that_went(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        begun = await on.begin()
        mine, other = on.here.browser(), on.here.browser()
        back = await on.back(mine, begun["url"])
        assert (await other.get(back)).status_code == 403, "a stranger who was sent the address of my login"
        assert await on.here.state(begun["ticket"]) == {"state": "refused"}
        assert (await mine.get(back)).status_code == 400, "spent"
        assert "token" not in on.issuer.calls


async def test_a_state_that_nobody_made_leads_nowhere(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        browser = on.here.browser()
        for query in ("", "?state=", "?state=made-up&code=x", "?state=" + "x" * 9_000):
            assert (await browser.get(f"/login/oidc/callback{query}")).status_code == 400
        assert on.issuer.calls == []


async def test_a_press_needs_its_token_and_its_own_site(tmp_path: Path) -> None:
    async with stage(tmp_path) as on:
        begun = await on.begin()
        browser = on.here.browser()
        csrf = CSRF.search((await browser.get(begun["url"])).text)[1]  # type: ignore[index]
        data = {"csrf": csrf, "action": "go"}
        for wrong in ({"data": {**data, "csrf": "0"}}, {"data": data, "headers": {"origin": "https://evil.example"}}):
            assert (await browser.post(begun["url"], **wrong)).status_code == 403
        assert "refresh" in (await browser.post(begun["url"], data=data)).headers


async def test_a_login_of_one_provider_is_not_shown_by_another(tmp_path: Path) -> None:
    """Else a page that only asks for a press would stand in for the one that goes to the issuer."""
    both = {"ports": {"identity_provider": ["oidc", "qr"]}}
    async with stage(tmp_path, **both) as on:
        begun, scan = await on.begin(), await on.here.begin()
        browser = on.here.browser()
        assert (await browser.get(f"/login/{code_of(begun['url'])}")).status_code == 404
        assert (await browser.get(f"/login/oidc/{code_of(scan['url'])}")).status_code == 404


async def test_registration_and_bans_hold_here_too(tmp_path: Path) -> None:
    async with stage(tmp_path, auth={"registration": "closed"}) as on:
        page, state = await on.log_in()
        assert (page.status_code, state) == (403, {"state": "refused"})
        assert "New accounts cannot be made here" in page.text
    async with stage(tmp_path / "invited", auth={"registration": "invite"}) as on:
        page, state = await on.log_in()
        assert (page.status_code, state) == (403, {"state": "refused"})
        assert "a new account needs an invite" in page.text


async def test_no_secret_stands_in_any_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    listen(caplog)
    async with stage(tmp_path) as on:
        begun = await on.begin()
        browser = on.here.browser()
        back = await on.back(browser, begun["url"])
        await browser.get(back)
        on.issuer.token_error = "invalid_grant"
        await on.log_in()
        on.issuer.faults["token"] = "html"
        await on.log_in()
    said = logged(caplog)
    assert "login_redirect_failed" in said
    query = dict(httpx2.URL(back).params)
    for secret in (SECRET, query["code"], query["state"], begun["ticket"]):
        assert secret not in said


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"algorithms": ["HS256"]}, "HS256 cannot be used"),
        ({"algorithms": ["none"]}, "none cannot be used"),
        ({"algorithms": []}, "cannot be used"),
        ({"scope": "profile"}, "openid"),
        ({"issuer": "http://issuer.example"}, "https"),
    ],
)
def test_what_cannot_be_safe_does_not_start(settings: dict[str, Any], said: str) -> None:
    chosen = OidcSettings(**{"issuer": "https://issuer.example", "client_id": "chat", **settings})
    with pytest.raises(SetupError, match=said):
        oidc.OidcIdentity("oidc", chosen, PublicAddress("", "127.0.0.1", 1), None)  # type: ignore[arg-type]
