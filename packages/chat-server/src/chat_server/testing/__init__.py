"""A chat server for tests, as fixtures of pytest: in memory, its clock held, its clients in the same process.

`chat_server.testing.plugin` registers the fixtures, `chat_server.testing.running` is what they return. Nothing of the
server is imported before a test asks for it.
"""
