"""The key by which push services know this server: made once, private, and signed with."""

from __future__ import annotations

import stat
from pathlib import Path

import jwt
import pytest
from chat_common.clock import ManualClock
from chat_common.settings import SetupError
from chat_server.cli import main
from chat_server.push.vapid import GOOD_FOR, Vapid, make_key, public_half, read_key
from click.testing import CliRunner


def test_a_key_is_made_private_and_never_lost_by_accident(tmp_path: Path) -> None:
    path = tmp_path / "data" / "vapid.pem"
    made = CliRunner().invoke(main, ["push", "keys", "--data", str(path.parent)])
    assert made.exit_code == 0, made.output
    public = public_half(read_key(path))
    assert f"public key: {public}\n" in made.output
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    again = CliRunner().invoke(main, ["push", "--", "keys", "--data", str(path.parent)])
    assert again.exit_code == 1
    assert "is there already" in again.output
    assert public_half(read_key(path)) == public
    assert make_key(path, replace=True) == public_half(read_key(path)) != public
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in path.parent.iterdir()] == ["vapid.pem"]


def test_what_is_no_key_is_said_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "vapid.pem"
    for content in (None, b"", b"no key"):
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(SetupError, match="chat-server push keys"):
            read_key(path)


def test_a_signature_is_for_one_service_and_made_anew_in_time(tmp_path: Path) -> None:
    make_key(tmp_path / "k")
    key, clock = read_key(tmp_path / "k"), ManualClock()
    vapid = Vapid(key, "mailto:ops@example.org", clock)

    def claims(origin: str) -> dict[str, object]:
        token = vapid.authorization(origin).removeprefix("vapid t=").partition(",")[0]
        read: dict[str, object] = jwt.decode(
            token, key.public_key(), ["ES256"], audience=origin, options={"verify_exp": False}
        )
        return read

    first = vapid.authorization("https://a.example")
    assert claims("https://a.example") == {
        "aud": "https://a.example",
        "exp": clock.wall_ms() // 1000 + GOOD_FOR,
        "sub": "mailto:ops@example.org",
    }
    assert claims("https://b.example")["aud"] == "https://b.example"
    clock.advance(GOOD_FOR - 3_601)
    assert vapid.authorization("https://a.example") == first
    clock.advance(1)
    assert vapid.authorization("https://a.example") != first
