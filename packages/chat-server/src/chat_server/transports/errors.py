"""What HTTP has a status of its own for; their codes are those of every other transport.

::

    ChatError
    ├── Invalid   invalid
    │   └── TimedOut       408
    └── TooLarge  too_large
        └── HeadTooLarge   431
"""

from __future__ import annotations

from chat_common.errors import Invalid, TooLarge


class HeadTooLarge(TooLarge):
    """The head of a request is over its limit."""

    status = 431


class TimedOut(Invalid):
    """What a client had to send was not complete in time."""

    status = 408
