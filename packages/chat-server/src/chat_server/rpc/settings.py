"""Settings of calls between nodes, and what they say of whom to trust."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated

from attrs import frozen
from chat_common.settings import SetupError, setting
from msgspec import Meta

_SECRET = 16
"""Characters of a secret at least."""


@frozen(kw_only=True)
class GrpcRpcSettings:
    """Section ``[rpc.grpc]``."""

    address: str = setting(
        "127.0.0.1:0", help="Where this node answers: host:port; port 0: any that is free. A Unix socket: unix:/path."
    )
    advertise: str = setting("", help="Where other nodes reach it; empty: the address.")
    secret_file: str = setting("", help="A file with a secret of 16 characters or more, the same on all nodes.")
    ca_file: str = setting("", help="With TLS: the certificate that has signed those of all nodes.")
    cert_file: str = setting("", help="With TLS: this node's certificate.")
    key_file: str = setting("", help="With TLS: its key.")
    message_bytes: Annotated[int, Meta(ge=65_536)] = setting(
        16_777_216, help="Largest record or answer; also the most that travels in one message."
    )
    max_open_calls: Annotated[int, Meta(ge=1)] = setting(
        10_000, help="Calls to one node, or from one, that are open at once; more are refused."
    )

    @property
    def batch_bytes(self) -> int:
        """After so many bytes a message ends, and the rest of the turn goes into the next one."""
        return min(1_048_576, self.message_bytes)

    @property
    def grpc_limits(self) -> list[tuple[str, int]]:
        """A message is a batch, one record more, and numbers of calls that were cancelled."""
        limit = self.batch_bytes + self.message_bytes + 16 * self.max_open_calls + 65_536
        return [("grpc.max_receive_message_length", limit), ("grpc.max_send_message_length", limit)]


@frozen(kw_only=True)
class RpcDirectorySettings:
    """Section ``[directory.rpc]``."""

    address: str = setting(help="Where the node answers that keeps the directory: host:port, or unix:/path.")
    patience: float = setting(30.0, help="Seconds that a start waits for that node.")


@frozen
class Trust:
    """How nodes know each other: by certificates of one authority, by a secret, by both, or by being on one machine."""

    secret: str = ""
    ca: bytes = b""
    cert: bytes = b""
    key: bytes = b""

    @property
    def tls(self) -> bool:
        return bool(self.cert)

    def check(self, address: str) -> None:
        """`SetupError` for an address that others than this machine reach, where nothing proves who they are."""
        if not self.secret and not self.tls and not is_local(address):
            raise SetupError(
                f"{address} is reached from other machines. Set secret_file, or ca_file, cert_file and key_file, in "
                "[rpc.grpc]."
            )


def trust_of(settings: GrpcRpcSettings) -> Trust:
    """Reads the files; `SetupError` where one is missing or says too little."""
    files = (settings.ca_file, settings.cert_file, settings.key_file)
    if any(files) and not all(files):
        raise SetupError("TLS between nodes needs all of ca_file, cert_file and key_file in [rpc.grpc].")
    secret = _read(settings.secret_file).decode(errors="replace").strip() if settings.secret_file else ""
    if settings.secret_file and (len(secret) < _SECRET or not secret.isascii()):
        raise SetupError(f"The secret in {settings.secret_file} must have {_SECRET} ASCII characters or more.")
    return Trust(secret, *(_read(name) if name else b"" for name in files))


def reached_at(settings: GrpcRpcSettings, bound: str) -> str:
    """Where other nodes reach the node that answers at ``bound``. `SetupError` where that cannot be told."""
    if settings.advertise:
        return settings.advertise
    if bound.rpartition(":")[0].strip("[]") in ("0.0.0.0", "::", ""):
        raise SetupError(
            f"{bound} is no address that other nodes can call. Set advertise in [rpc.grpc] to host:port of this node."
        )
    return bound


def is_local(address: str) -> bool:
    if address.startswith("unix:"):
        return True
    host = address.rpartition(":")[0].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _read(name: str) -> bytes:
    try:
        return Path(name).read_bytes()
    except OSError as error:
        raise SetupError(f"{name} cannot be read: {error.strerror}.") from error
