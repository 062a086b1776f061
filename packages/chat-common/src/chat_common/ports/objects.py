"""Object storage. See the port's own docstrings; written with chat-oss."""
