"""Backends that live in this process: the embedded default, and what tests use."""
