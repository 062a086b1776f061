"""A shop on Django in one file: `python examples/shop/django_shop.py migrate | runserver`.

It knows of the chat only how to write an intent down, with the cursor of its own transaction.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import django
from chat_common.wire import SubmitMessage
from chat_transaction import ChatOutbox
from django.conf import settings
from django.core.management import execute_from_command_line
from django.db import connection, transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path
from sqlalchemy import create_engine

DATABASE = os.environ.get("SHOP_DATABASE", "shop.db")

settings.configure(
    DEBUG=True,
    SECRET_KEY="an example",
    ALLOWED_HOSTS=["127.0.0.1", "localhost", "testserver"],
    ROOT_URLCONF=__name__,
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": DATABASE}},
)
django.setup()

chat = ChatOutbox(
    create_engine(f"sqlite:///{DATABASE}")
)  # here only to write intents: the relay is a process of its own


class CardDeclined(Exception):
    pass


def orders(request: HttpRequest) -> HttpResponse:
    """POST: place an order. GET: all orders."""
    with connection.cursor() as cursor:
        if request.method != "POST":
            cursor.execute("SELECT id, buyer, item FROM orders ORDER BY id")
            return JsonResponse({"orders": [dict(zip(("id", "buyer", "item"), row, strict=True)) for row in cursor]})
        try:
            with transaction.atomic():
                order = _place(cursor, request.GET["buyer"], request.GET["item"], request.GET["card"])
        except CardDeclined:
            return JsonResponse({"detail": "the card was declined"}, status=402)
    return JsonResponse({"order": order})


def _place(cursor: Any, buyer: str, item: str, card: str) -> int:
    """The order and the message about it, by one cursor in one transaction."""
    cursor.execute("INSERT INTO orders (buyer, item) VALUES (%s, %s)", [buyer, item])
    order: int = cursor.lastrowid
    cursor.execute("SELECT shop, conversation FROM customers WHERE name = %s", [buyer])
    shop, conversation = cursor.fetchone()
    message = SubmitMessage(
        conversation=conversation, kind="text", body={"text": f"Your order {order} ({item}) is on its way."}
    )
    cursor.execute(*chat.enqueue_sql(message, sender=shop, ref=f"order-{order}"))
    if card == "declined":
        raise CardDeclined
    return order


urlpatterns = [path("orders", orders)]

if __name__ == "__main__":
    execute_from_command_line([sys.argv[0], *(sys.argv[1:] or ["runserver"])])
