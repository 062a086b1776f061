"""Signatures, against the library of those who specified them, and the secret's places."""

from __future__ import annotations

import base64
import time
from pathlib import Path

import pytest
from chat_common.settings import SetupError
from chat_server.moderation.settings import WebhookSettings
from chat_server.signing import signer
from standardwebhooks import Webhook, WebhookVerificationError

from tests.chat_server.moderation.receiver import OTHER, SECRET


def test_a_signature_is_good_for_its_key_body_id_and_time_alone() -> None:
    now = int(time.time())
    headers = dict(signer(WebhookSettings(secret=SECRET)).headers("one", now, b'{"a": 1}'))
    assert Webhook(SECRET).verify(b'{"a": 1}', headers) == {"a": 1}
    for secret, body, changed in (
        (OTHER, b'{"a": 1}', {}),
        (SECRET, b'{"a": 2}', {}),
        (SECRET, b'{"a": 1}', {"webhook-id": "two"}),
        (SECRET, b'{"a": 1}', {"webhook-timestamp": str(now + 1)}),
    ):
        with pytest.raises(WebhookVerificationError):
            Webhook(secret).verify(body, {**headers, **changed})
    old = dict(signer(WebhookSettings(secret=SECRET)).headers("one", now - 3600, b'{"a": 1}'))
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(b'{"a": 1}', old)


def test_the_secret_is_read_from_a_file_and_never_printed(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text(f"{SECRET}\n", "utf-8")
    settings = WebhookSettings(secret_file=str(path))
    assert signer(settings).headers("x", 1, b"") == signer(WebhookSettings(secret=SECRET)).headers("x", 1, b"")
    assert SECRET not in repr(WebhookSettings(secret=SECRET))
    assert "key" not in repr(signer(settings))


@pytest.mark.parametrize(
    "secret",
    ["", "plain", "whsec_!!", "whsec_" + base64.b64encode(b"short").decode(), SECRET.removeprefix("whsec_")],
)
def test_a_weak_or_missing_secret_stops_the_start(secret: str) -> None:
    with pytest.raises(SetupError, match="secret"):
        signer(WebhookSettings(secret=secret))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="cannot be read") as refused:
        signer(WebhookSettings(secret_file=str(tmp_path / "none")))
    assert str(tmp_path / "none") in str(refused.value)
    with pytest.raises(SetupError, match="not both"):
        signer(WebhookSettings(secret=SECRET, secret_file="x"))
