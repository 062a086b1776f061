"""The official client's push consumer, which a restarted broker gets to know again, and which can leave one.

The client says once who it is and what it reads, on a stream that it does not open again when it ends: 5.1.2 notices
after up to five minutes, and repeats what it said five minutes later. Until then a restarted broker or proxy answers
each request for messages with an internal error (apache/rocketmq-clients issue 1137 has the same of the Go client).
"""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import Future
from typing import Any

log = logging.getLogger(__name__)

_AGAIN = 1.0
"""Seconds until a stream that has ended is opened again."""
_LIFE = 365 * 86_400
"""Seconds that a stream may last."""


class Left(BaseException):
    """Ends a client thread's task without a word to the broker, which gives the message to somebody else.

    Not an `Exception`: the client would count it as a failure, and bury the message after some, or try again for ever.
    """


def consumer_class(rocketmq: Any) -> Any:
    """`PushConsumer` of the imported client, made to keep its streams."""

    class Consumer(rocketmq.PushConsumer):  # type: ignore[misc]  # it has no types
        def __init__(self, *arguments: Any, **options: Any) -> None:
            self._streams: dict[str, Future[None]] = {}
            self._leaving = False
            super().__init__(*arguments, **options)

        def on_new_endpoints(self, endpoints: Any) -> None:
            """Called by the client for each address that it finds in a route (any thread)."""
            known = self._streams.get(endpoints.facade)
            if not self._leaving and (known is None or known.done()):
                loop = self.rpc_client.get_channel_io_loop()
                self._streams[endpoints.facade] = asyncio.run_coroutine_threadsafe(self._introduce(endpoints), loop)

        async def _introduce(self, endpoints: Any) -> None:
            while True:
                try:
                    channel = self.rpc_client.retrieve_or_create_channel(endpoints)
                    stream = channel.async_stub.Telemetry(metadata=self.sign(), timeout=_LIFE, wait_for_ready=True)
                    channel.register_telemetry_stream_stream_call(stream, self)
                    call = channel.telemetry_stream_stream_call
                    await call.stream_write(self.sync_setting_req(endpoints))
                    await call.start_stream_read()  # until it ends
                except Exception as error:
                    log.debug("a stream to RocketMQ at %s failed: %s", endpoints, error)
                except asyncio.CancelledError:
                    # Also raised where somebody else cancels the stream: the client does, when it opens another.
                    if (task := asyncio.current_task()) is None or task.cancelling():
                        raise
                await asyncio.sleep(_AGAIN)
                log.info("RocketMQ at %s is told again what is read", endpoints)

        def reset_metric(self, metric: Any) -> None:
            """Called while the stream is read: what it raises would end the reading. It raises wherever the broker
            wants no metrics (apache/rocketmq-clients issue 1191)."""
            try:
                super().reset_metric(metric)
            except Exception as error:
                log.debug("the RocketMQ client keeps no metrics: %s", error)

        def _ack(self, message: Any) -> None:
            """Called in a consumption thread, again and again until it is done; nobody could leave a broker that is
            away."""
            try:
                super()._ack(message)
            except Exception as error:
                if self._leaving:
                    raise Left from error
                raise

        def _on_start_failure(self) -> None:
            """Called by the client; nobody shuts down what did not start."""
            self._leave()
            super()._on_start_failure()

        def shutdown(self) -> None:
            self._leave()
            super().shutdown()

        def _leave(self) -> None:
            self._leaving = True
            for stream in self._streams.values():
                stream.cancel()

    return Consumer
