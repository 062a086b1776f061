"""The command ``chat-server``. What a subcommand needs is imported when it runs."""

from chat_server.cli.main import main

__all__ = ["main"]
