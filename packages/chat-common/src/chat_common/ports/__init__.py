"""The ports: what a plugin may replace. Each is a small `Protocol` whose docstring states its guarantees."""
