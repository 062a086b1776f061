"""The settings of the push providers, one section each."""

from __future__ import annotations

from typing import Annotated

from attrs import Factory, define
from chat_common.settings import setting
from msgspec import Meta

SERVICES = (
    "fcm.googleapis.com",  # Chrome, Edge on Android, Samsung Internet, Opera
    "*.push.services.mozilla.com",  # Firefox
    "*.push.apple.com",  # Safari
    "*.notify.windows.com",  # Edge
)


@define(kw_only=True)
class WebPushSettings:
    """Section ``[push_provider.webpush]``."""

    subject: str = setting(
        help="How push services reach whoever runs this server: mailto:… or https://…, sent with every notification."
    )
    key_file: str = setting(
        "", help="The private VAPID key, made by `chat-server push keys`; empty: vapid.pem in the data folder."
    )
    services: list[str] = setting(
        Factory(lambda: list(SERVICES)),
        help="Hosts that subscriptions may lead to; *.example.org: any host below it.",
    )
    internal: bool = setting(
        False, help="Let subscriptions lead to http:// and to addresses of internal networks: for tests alone."
    )
    timeout: Annotated[float, Meta(gt=0, le=20)] = setting(10.0, help="Seconds that one answer may take.")

    def __attrs_post_init__(self) -> None:
        if not self.subject.startswith(("mailto:", "https://")):
            raise ValueError("subject: an address that begins with mailto: or https:// is expected")


@define(kw_only=True)
class WebhookPushSettings:
    """Section ``[push_provider.webhook]``."""

    url: str = setting(help="Address of the program that tells the devices.")
    timeout: Annotated[float, Meta(gt=0, le=20)] = setting(10.0, help="Seconds that one answer may take.")
    secret: str = setting(
        "",
        help="Key of the signatures: whsec_ and at least 24 bytes as base64. Better by the environment.",
        secret=True,
    )
    secret_file: str = setting("", help="A file that holds the secret, in place of `secret`.")
