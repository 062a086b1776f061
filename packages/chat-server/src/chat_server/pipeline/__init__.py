"""What every request passes on its way to a room: interceptors, idempotency, the handler."""

from chat_server.pipeline.dispatch import Commands, Pipeline
from chat_server.pipeline.idempotency import Replies
from chat_server.pipeline.limits import LimitSettings
from chat_server.pipeline.observers import Observers
from chat_server.store.replies import request_hash

__all__ = ["Commands", "LimitSettings", "Observers", "Pipeline", "Replies", "request_hash"]
