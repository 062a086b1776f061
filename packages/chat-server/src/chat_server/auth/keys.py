"""The keys that sign tokens: configured, read from files, or made at the first start and kept in the store."""

from __future__ import annotations

import hashlib
import secrets
from pathlib import Path

from chat_common.settings import SetupError
from sqlalchemy import Connection, select

from chat_server.auth.settings import AuthSettings
from chat_server.store.schema import meta

FILE = "file:"
STORED = "stored"
MOST_BYTES = 4_096


def signing_keys(connection: Connection, settings: AuthSettings) -> dict[str, str]:
    """Return all keys that are believed, by their ids; the first one signs.

    Those of ``auth.keys`` come first, newest first, then ``auth.secret``. The store's own key is used where neither is
    set, or where ``stored`` stands among the keys; it is made only when it is needed. `SetupError`: a file cannot be
    read, or holds no key.
    """
    chosen = [*settings.keys, *([settings.secret] if settings.secret else [])] or [STORED]
    keys: dict[str, str] = {}
    for each in chosen:
        key = _stored(connection) if each == STORED else _read(each)
        keys.setdefault(key_id(key), key)
    # Tokens from before keys had names carry the name of the only key that existed.
    keys.setdefault("1", keys[key_id(_stored(connection) if chosen[-1] == STORED else _read(chosen[-1]))])
    return keys


def key_id(key: str) -> str:
    """Return the name under which tokens name their key: it tells nothing of the key, and is the same on every node."""
    return hashlib.sha256(b"key id " + key.encode()).hexdigest()[:12]


def _read(given: str) -> str:
    if not given.startswith(FILE):
        return given
    path = Path(given.removeprefix(FILE))
    try:
        with path.open("rb") as file:
            found = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise SetupError(f"The signing key {path} of [auth] cannot be read: {error.strerror}.") from error
    try:
        text = found.decode().strip()
    except UnicodeDecodeError:
        raise SetupError(
            f"The signing key {path} of [auth] is not text: write it with `openssl rand -base64 48`."
        ) from None
    if not text or len(found) > MOST_BYTES:
        raise SetupError(f"The signing key {path} of [auth] is empty or longer than {MOST_BYTES} bytes.")
    return text


def _stored(connection: Connection) -> str:
    value = connection.execute(select(meta.c.value).where(meta.c.key == "token_secret")).scalar_one_or_none()
    if value is None:
        value = secrets.token_urlsafe(48)
        connection.execute(meta.insert().values(key="token_secret", value=value))
    return str(value)
