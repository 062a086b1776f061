"""A bridge to the push platform of a vendor: the chat calls it by the push provider ``webhook``.

    export CHAT_PUSH_SECRET=whsec_…
    uvicorn --app-dir examples/push bridge:app --port 9000

What stands in `Vendor.send` is yours: a call of Huawei's, Xiaomi's or Getui's HTTP API.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from standardwebhooks import Webhook, WebhookVerificationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route


class Vendor:
    """Pretends to be a platform: knows every token but ``gone``."""

    async def send(self, token: str, title: str, text: str, link: str) -> str:
        """What became of it: ``delivered``, ``gone``, ``later`` or ``refused``."""
        if token == "gone":
            return "gone"
        print(f"{token}: {title}: {text} ({link})", file=sys.stderr)
        return "delivered"


VENDORS = {"getui": Vendor()}


async def push(request: Request) -> Response:
    """Tell each address, and say what became of it, in the same order."""
    try:
        # Refuses other keys, and what was recorded more than five minutes ago.
        told = Webhook(os.environ["CHAT_PUSH_SECRET"]).verify(await request.body(), dict(request.headers))
    except WebhookVerificationError:
        return Response(status_code=401)
    return JSONResponse({"outcomes": [{"result": await one(told, each["values"])} for each in told["addresses"]]})


async def one(told: dict[str, Any], values: dict[str, Any]) -> str:
    """``values`` is what the app sent with `push.subscribe`: a stranger wrote it."""
    vendor, token = VENDORS.get(str(values.get("vendor"))), values.get("token")
    if vendor is None or not isinstance(token, str) or len(token) > 200:
        return "gone"
    return await vendor.send(token, told["title"], told["text"], f"chat://{told['conversation']}/{told['seq']}")


app = Starlette(routes=[Route("/", push, methods=["POST"])])
