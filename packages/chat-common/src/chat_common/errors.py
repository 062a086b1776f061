"""Every error that a caller of Interesting-Chat may see, each with its wire code and HTTP status.

::

    ChatError
    ├── Invalid            invalid            400
    ├── NotAuthenticated   not_authenticated  401
    ├── NotPermitted       not_permitted      403
    ├── NotAMember         not_a_member       403
    ├── NotFound           not_found          404
    ├── Conflict           conflict           409
    ├── RefConflict        ref_conflict       409
    ├── EpochChanged       epoch_changed      409
    ├── RecallExpired      recall_expired     409
    ├── TooLarge           too_large          413
    ├── RateLimited        rate_limited       429
    ├── Internal           internal           500
    └── Unavailable        unavailable        503

A vendor's exception never crosses a port: a backend translates it into one of these.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar


class ChatError(Exception):
    """The root. ``message`` is for a person and names the field and the limit.

    ``retry_after`` is in seconds. ``field`` is the path of the offending parameter, without ``$.``. ``details``: what a
    client needs beyond that to go on, for example the devices that keep a login out. ``reason``: a word of the code
    that says more than `code`, for the metrics of this process; it is not sent.
    """

    code: ClassVar[str] = "internal"
    status: ClassVar[int] = 500
    carried: ClassVar[tuple[str, ...]] = ()
    """Further attributes of a kind, in plain data, which another node is told and a client is not."""

    def __init__(
        self,
        message: str = "",
        *,
        field: str | None = None,
        limit: int | None = None,
        retry_after: float | None = None,
        details: Mapping[str, Any] | None = None,
        reason: str | None = None,
    ) -> None:
        super().__init__(message or self.code)
        self.message = message or self.code
        self.field = field
        self.limit = limit
        self.retry_after = retry_after
        self.details = details
        self.reason = reason

    def as_dict(self) -> dict[str, Any]:
        """The error as it stands in an ``error`` frame or an HTTP body; absent means absent."""
        body: dict[str, Any] = {"code": self.code, "message": self.message}
        if self.field is not None:
            body["field"] = self.field
        if self.limit is not None:
            body["limit"] = self.limit
        if self.retry_after is not None:
            body["retry_after"] = self.retry_after
        if self.details is not None:
            body["details"] = dict(self.details)
        return body


class Invalid(ChatError):
    """A parameter is malformed, out of range or unknown."""

    code, status = "invalid", 400


class NotAuthenticated(ChatError):
    """No token, or one that is not valid or has ended."""

    code, status = "not_authenticated", 401


class NotPermitted(ChatError):
    """The caller lacks a right in his own conversation, or a policy refuses."""

    code, status = "not_permitted", 403


class NotAMember(ChatError):
    """The caller has left, and wants to change something or to read beyond his intervals."""

    code, status = "not_a_member", 403


class NotFound(ChatError):
    """It does not exist, belongs to others, or the caller was never in it: the answer does not tell which."""

    code, status = "not_found", 404


class Conflict(ChatError):
    """The state of the thing does not allow this."""

    code, status = "conflict", 409


class RefConflict(ChatError):
    """The same ``ref`` with another command or other parameters."""

    code, status = "ref_conflict", 409


class EpochChanged(ChatError):
    """The cursor belongs to another epoch or lies beyond the head: start over."""

    code, status = "epoch_changed", 409


class RecallExpired(ChatError):
    """The time in which a message may be recalled is over."""

    code, status = "recall_expired", 409


class TooLarge(ChatError):
    """A whole body is over its limit (a single field over its limit is ``Invalid``)."""

    code, status = "too_large", 413


class RateLimited(ChatError):
    """Too many requests; ``retry_after`` says when to try again."""

    code, status = "rate_limited", 429


class Internal(ChatError):
    """Our fault. The message tells nothing of the inside; the log does."""

    code, status = "internal", 500


class Unavailable(ChatError):
    """A part that this needs is not there, or not now."""

    code, status = "unavailable", 503


def error_types() -> dict[str, type[ChatError]]:
    """All error classes by wire code, for clients and for the generated documents."""
    found: dict[str, type[ChatError]] = {}
    pending = list(ChatError.__subclasses__())
    while pending:
        kind = pending.pop()
        found.setdefault(kind.code, kind)
        pending.extend(kind.__subclasses__())
    return dict(sorted(found.items()))
