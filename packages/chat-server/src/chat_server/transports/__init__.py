"""The transports: what carries the gateway's frames. `websocket` for our own server, `asgi` for somebody else's."""
