"""One call of a handler, and what it says about its batch: the same for every broker."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from chat_common.ports.broker import BrokerRecord, Handler, NotHandled

from chat_transaction.backoff import pause

log = logging.getLogger(__name__)


async def outcome(handler: Handler, batch: Sequence[BrokerRecord]) -> NotHandled | None:
    """Run the handler; None when all is handled, else what is not."""
    try:
        await handler(batch)
    except NotHandled as error:
        return error if error.failed or error.later else None
    except Exception:
        log.exception("a handler of topic %s failed", batch[0].topic)
        return NotHandled(batch)
    return None


def retry_in(error: NotHandled, first: float, cap: float) -> float:
    """Seconds until what was not handled comes again."""
    if error.retry_in is not None:
        return error.retry_in
    return pause(max((record.attempt for record in error.failed), default=1), first, cap)
