"""Which doors of HTTP are open."""

from __future__ import annotations

from typing import Literal

from attrs import frozen
from chat_common.settings import setting


@frozen(kw_only=True)
class HttpSettings:
    """Section ``[http]``."""

    access_log: bool = setting(
        False, help="Whether each HTTP request is logged: address, method, path and status, never the query."
    )
    metrics: Literal["loopback", "open", "token", "off"] = setting(
        "loopback",
        help="Who may read GET /metrics and the parts of /readyz: this machine (and no proxy on it), everybody, who has"
        " metrics_token, or nobody.",
    )
    metrics_token: str = setting("", help='The bearer token for metrics = "token".', secret=True)
    security_contact: str = setting(
        "", help="Where to report vulnerabilities, as mailto: or https:; with it /.well-known/security.txt answers."
    )
    web_client: bool = setting(True, help="Whether GET / serves the web client.")
    loop: Literal["auto", "asyncio", "uvloop"] = setting(
        "auto", help="The event loop of chat-server: auto takes uvloop where it is installed."
    )

    forward_to: str = setting(
        "",
        help="Who answers HTTP for a process that runs the role gateway alone: unix:/path or host:port of a node with"
        " rooms, which has this one among its trusted_proxies; empty: nobody, so that a balancer must tell them apart.",
    )

    def __attrs_post_init__(self) -> None:
        if self.metrics == "token" and len(self.metrics_token) < 16:
            raise ValueError('metrics = "token" needs a metrics_token of at least 16 characters.')
        if self.security_contact and not self.security_contact.startswith(("mailto:", "https://", "tel:")):
            raise ValueError("security_contact must begin with mailto:, https:// or tel:.")
        if not self.security_contact.isprintable():
            raise ValueError("security_contact must be a single line.")
