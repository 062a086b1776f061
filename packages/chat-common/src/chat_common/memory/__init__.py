"""Backends that live in this process: the embedded default, and what tests use."""

from chat_common.memory.cache import MEMORY_CACHE
from chat_common.memory.directory import MEMORY_DIRECTORY
from chat_common.memory.rpc import DIRECT_RPC

__all__ = ["DIRECT_RPC", "MEMORY_CACHE", "MEMORY_DIRECTORY"]
