"""Tokens that are forged, foreign, expired, or tricked out: none is read."""

from __future__ import annotations

import base64
import json
from typing import Any

import jwt
import pytest
from attrs import evolve
from chat_common.clock import ManualClock
from chat_common.errors import NotAuthenticated
from chat_common.settings import SetupError
from chat_server.auth.signer import PHONE, Claims, TokenSigner

KEY, OTHER = "k" * 32, "o" * 32


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def claims(clock: ManualClock) -> Claims:
    now = clock.wall_ms() // 1000 * 1000
    return Claims("ada", "jti", "login", now, now + 3_600_000)


def test_what_was_signed_is_read_and_signed_the_same_again(clock: ManualClock, claims: Claims) -> None:
    signer = TokenSigner({"1": KEY}, clock)
    assert signer.read(signer.sign(claims)) == claims
    assert signer.sign(claims) == signer.sign(claims)


def payload(claims: Claims) -> dict[str, Any]:
    return {
        "iss": "interesting-chat", "sub": claims.user, "jti": claims.token, "fam": claims.login,
        "iat": claims.issued_at // 1000, "exp": claims.expires_at // 1000,
    }  # fmt: skip


def unsigned(header: dict[str, Any], body: dict[str, Any]) -> str:
    parts = [base64.urlsafe_b64encode(json.dumps(each).encode()).rstrip(b"=").decode() for each in (header, body)]
    return ".".join([*parts, ""])


@pytest.mark.parametrize(
    "made",
    [
        lambda body: jwt.encode(body, OTHER, "HS256", headers={"kid": "1"}),
        lambda body: jwt.encode(body, KEY * 2, "HS512", headers={"kid": "1"}),
        lambda body: jwt.encode(body, KEY, "HS256", headers={"kid": "2"}),
        lambda body: jwt.encode(body, KEY, "HS256", headers={"kid": "../1"}),
        lambda body: jwt.encode(body, KEY, "HS256"),
        lambda body: unsigned({"alg": "none", "kid": "1"}, body),
        lambda body: unsigned({"alg": "HS256", "kid": ["1"]}, body),
        lambda body: unsigned({"alg": "HS256", "kid": None}, body),
        lambda body: jwt.encode({**body, "iss": "another"}, KEY, "HS256", headers={"kid": "1"}),
        lambda body: jwt.encode({**body, "aud": PHONE}, KEY, "HS256", headers={"kid": "1"}),
        lambda body: jwt.encode({**body, "exp": "soon"}, KEY, "HS256", headers={"kid": "1"}),
        *[
            lambda body, gone=gone: jwt.encode(
                {name: value for name, value in body.items() if name != gone}, KEY, "HS256", headers={"kid": "1"}
            )
            for gone in ("iss", "sub", "jti", "fam", "iat", "exp")
        ],
        lambda body: "",
        lambda body: "a.b.c",
        lambda body: "é" * 40,
        lambda body: "\ud800.x.y",
    ],
)
def test_a_forgery_is_refused(clock: ManualClock, claims: Claims, made: Any) -> None:
    with pytest.raises(NotAuthenticated):
        TokenSigner({"1": KEY}, clock).read(made(payload(claims)))


def test_a_changed_letter_is_seen(clock: ManualClock, claims: Claims) -> None:
    signer = TokenSigner({"1": KEY}, clock)
    text = signer.sign(claims)
    for place in range(0, len(text), 7):
        other = text[:place] + ("A" if text[place] != "A" else "B") + text[place + 1 :]
        with pytest.raises(NotAuthenticated):
            signer.read(other)


def test_a_phones_token_is_no_other(clock: ManualClock, claims: Claims) -> None:
    signer = TokenSigner({"1": KEY}, clock)
    phone = signer.sign(evolve(claims, audience=PHONE))
    assert signer.read(phone, PHONE).audience == PHONE
    with pytest.raises(NotAuthenticated):
        signer.read(phone)
    with pytest.raises(NotAuthenticated):
        signer.read(signer.sign(claims), PHONE)


@pytest.mark.parametrize(("ahead", "good"), [(-120.0, True), (0.0, True), (3_599.0, True), (3_600.0, False)])
def test_a_token_is_good_until_its_end_by_the_readers_clock(
    clock: ManualClock, claims: Claims, ahead: float, good: bool
) -> None:
    """A clock two minutes behind the signer's finds it good: it is not asked when the token was made."""
    signer = TokenSigner({"1": KEY}, clock)
    moved = evolve(
        claims,
        issued_at=claims.issued_at - round(ahead * 1000),
        expires_at=claims.expires_at - round(ahead * 1000),
    )
    text = signer.sign(moved)
    if good:
        assert signer.read(text) == moved
    else:
        with pytest.raises(NotAuthenticated, match="expired"):
            signer.read(text)


def test_a_new_key_signs_and_the_old_one_is_still_believed(clock: ManualClock, claims: Claims) -> None:
    old = TokenSigner({"1": KEY}, clock)
    rotated = TokenSigner({"2": OTHER, "1": KEY}, clock)
    assert rotated.read(old.sign(claims)) == claims
    assert jwt.get_unverified_header(rotated.sign(claims))["kid"] == "2"
    with pytest.raises(NotAuthenticated):
        old.read(rotated.sign(claims))
    with pytest.raises(NotAuthenticated):
        TokenSigner({"2": OTHER}, clock).read(old.sign(claims))


def test_a_short_key_is_refused(clock: ManualClock) -> None:
    with pytest.raises(SetupError, match="shorter than 32"):
        TokenSigner({"1": "short"}, clock)
