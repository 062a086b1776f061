"""The HTTP door: commands, documents, health, metrics, the web client."""

from chat_server.http.app import HttpSettings, http_app

__all__ = ["HttpSettings", "http_app"]
