"""The session protocol without I/O: objects that are fed frames and a ``now``, and asked what to write.

Nothing in here imports asyncio, time, sockets or logging. `frames` names what travels, `window` and `versions` keep
count, `session` is the server's side of a connection, `client` is its mirror image.
"""
