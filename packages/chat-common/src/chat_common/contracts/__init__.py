"""The ports' contracts as checks that any implementer can run: plain coroutine functions that assert."""
