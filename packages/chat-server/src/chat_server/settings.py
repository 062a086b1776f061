"""Where the server listens and keeps its data."""

from __future__ import annotations

from attrs import define, field
from chat_common.settings import setting

from chat_server.roles import ALL


@define(kw_only=True)
class ServerSettings:
    host: str = setting("127.0.0.1", help="Address to listen on; 0.0.0.0 for all.")
    port: int = setting(8080, help="Port for HTTP and WebSocket; 0: a free one.")
    data: str = setting("chat-data", help="Folder for the embedded database and files.")
    min_free: int = setting(
        64 * 1024 * 1024, help="Bytes of the data folder's disk below which /readyz says that it is full."
    )
    public_url: str = setting("", help="The address that phones and browsers use, where it is not the one above.")
    hosts: list[str] = field(
        factory=list,
        metadata={
            "help": "Names by which browsers may use this server, beside that of `public_url`, its addresses and"
            " localhost, such as chat.example or *.chat.example; *: any, which lets a page under another name in."
        },
    )
    trusted_proxies: list[str] = field(
        factory=list,
        metadata={
            "help": "Addresses and networks of proxies whose X-Forwarded-For, X-Forwarded-Proto and Forwarded are"
            " believed, such as 127.0.0.1 or 10.0.0.0/8, and unix for a Unix socket; empty: those of nobody."
        },
    )
    roles: list[str] = field(
        factory=lambda: list(ALL),
        metadata={
            "help": "What this process runs: gateway (the sockets), and im, logic, auth, router (the rooms, which run"
            " together)."
        },
    )
    role_patience: float = setting(30.0, help="Seconds that a gateway alone waits for a node that runs the rooms.")
    node: str = setting("", help="This node's name; empty: made up at each start.")
    allowed_origins: list[str] = field(
        factory=list, metadata={"help": "Origins of other sites that may use the API; empty: the own one alone."}
    )
