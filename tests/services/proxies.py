"""Real reverse proxies on free ports of 127.0.0.1, with TLS, configured by the very snippets of the documentation."""

from __future__ import annotations

import re
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.services.absent import absent
from tests.services.process import Child, free_port

PAGE = Path(__file__).parent.parent.parent / "docs" / "operating.md"


def snippet(language: str) -> str:
    """The one block of that language in the documentation."""
    (found,) = re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    return str(found)


def certificate(folder: Path) -> tuple[Path, Path, Path]:
    """For 127.0.0.1 and localhost, signed by itself: certificate, key, and both in one file."""
    pem, key, both = folder / "chat.pem", folder / "chat.key", folder / "chat-with-key.pem"
    if not pem.exists():
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
             "-days", "2", "-keyout", str(key), "-out", str(pem), "-subj", "/CN=localhost",
             "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"],
            check=True, capture_output=True,
        )  # fmt: skip
        both.write_text(pem.read_text() + key.read_text())
        for path in (pem, key, both):
            path.chmod(0o644)
    return pem, key, both


def trust(folder: Path) -> ssl.SSLContext:
    """For clients that are to believe that certificate."""
    return ssl.create_default_context(cafile=str(certificate(folder)[0]))


def replaced(text: str, changes: Mapping[str, str]) -> str:
    for old, new in changes.items():
        assert old in text, f"{old!r} is not in the snippet any more"
        text = text.replace(old, new)
    return text


@contextmanager
def proxy(kind: str, folder: Path, upstream: int, changes: Mapping[str, str] | None = None) -> Iterator[int]:
    """``nginx``, ``haproxy`` or ``caddy`` before that port; its own. ``changes`` of the snippet, by text."""
    binary = shutil.which(kind) or shutil.which(kind, path="/usr/sbin")
    if binary is None:
        absent(f"no {kind} on PATH")
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    pem, key, both = certificate(folder)
    text = replaced(snippet(kind), changes or {}).replace("127.0.0.1:8080", f"127.0.0.1:{upstream}")
    if kind == "nginx":
        text = replaced(
            text, {"443": f"127.0.0.1:{port}", "/etc/ssl/chat.pem": str(pem), "/etc/ssl/chat.key": str(key)}
        )
        kept = " ".join(
            f"{name}_temp_path {folder}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        ours = f"daemon off; pid {folder}/pid; error_log stderr; user root;\nevents {{}}\n"
        text = f"{ours}http {{ access_log off; {kept}\n{text}}}"
        command = [binary, "-p", str(folder), "-c", str(folder / "conf")]
    elif kind == "haproxy":
        text = replaced(text, {":443": f"127.0.0.1:{port}", "/etc/ssl/chat-with-key.pem": str(both)})
        command = [binary, "-db", "-f", str(folder / "conf")]
    else:
        own = f"https://127.0.0.1:{port} {{\n    tls {pem} {key}"
        text = "{\n    admin off\n    auto_https off\n}\n" + replaced(text, {"chat.example {": own})
        command = [binary, "run", "--adapter", "caddyfile", "--config", str(folder / "conf")]
    (folder / "conf").write_text(text)
    environment = {"HOME": str(folder), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    child = Child(command, folder / "log", environment=environment)

    def answers() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    child.start(answers)
    try:
        yield port
    finally:
        child.stop()
