"""What a plugin hands to the server: frozen records, returned by the hooks of `chat_common.hookspecs`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Literal, Protocol, TypeVar

from attrs import frozen

from chat_common.clock import Clock
from chat_common.decoding import prepare
from chat_common.ports.broker import BrokerRecord
from chat_common.wire import SubmitMessage

T = TypeVar("T")


class Context(Protocol):
    """What an `open` factory or a task gets: the ports and services, asked for by type."""

    @property
    def clock(self) -> Clock: ...

    @property
    def settings(self) -> Any:
        """The component's own settings section, an instance of its attrs class (None when it has none)."""
        ...

    async def get(self, port: type[T]) -> T:
        """The open backend of this port, opened now if nobody needed it yet. A cycle is an error that names it."""
        ...

    async def all(self, port: type[T]) -> Mapping[str, T]:
        """Every chosen backend of a port that may have several, by name: identity providers, push providers."""
        ...


@frozen
class Backend:
    """One way to provide a port. The configuration selects it by ``name``.

    ``open(context)`` is an async context manager that yields the port's object; leaving it closes it.
    ``settings`` is an attrs class; its section is ``[port.name]`` in lower case, for example ``[cache.redis]``.
    """

    port: type[Any]
    name: str
    open: Callable[[Context], AbstractAsyncContextManager[Any]]
    settings: type[Any] | None = None
    summary: str = ""
    default: bool = False


@frozen
class Section:
    """A settings section that belongs to no backend, such as ``[gateway]``."""

    name: str
    settings: type[Any]
    summary: str = ""


@frozen
class Caller:
    """Who calls a command. ``user`` is None for a guest. ``origin`` is ``ws``, ``http`` or ``local``. ``address`` is
    None for this machine itself, whose calls are counted nowhere.

    ``token`` names the caller's login, which stays the same through all renewals of its token; ``jti`` is the id of the
    very token. ``ref`` is the request's idempotency key, unique per user. ``command`` is the command being called,
    ``request_hash`` covers it and the params as the client sent them: both are set by the pipeline, the hash only for
    commands that change something; a handler that keeps its replies itself compares it.
    """

    user: str | None
    ref: str
    device: str | None = None
    session: str | None = None
    token: str | None = None
    origin: Literal["ws", "http", "local"] = "local"
    address: str | None = None
    command: str = ""
    request_hash: bytes = b""
    jti: str | None = None


Check = Callable[[Caller, SubmitMessage], Awaitable[SubmitMessage]]
Screens = Callable[[Check, Caller, Any], Awaitable[Any]]


@frozen
class Command:
    """A client request, defined once and callable over WebSocket, over HTTP and in process.

    ``handler(caller, request)`` gets an instance of ``request`` (an attrs class read by msgspec) and returns one of
    ``reply``. ``mode``: ``reads`` has no effect; ``changes`` is idempotent by (user, ref) for 24 h: the pipeline
    keeps its reply; ``keeps`` is a change that remembers its replies by itself, in its own transaction. ``cost``: the
    points that a call takes of what its user has a second, whatever becomes of it; a submit takes 1. ``callers``: who
    may call it: everybody, who is logged in, or users with the role ``admin`` alone.
    ``screens(check, caller, request)``: for a command by which a user says something to others; it awaits ``check`` for
    each text and returns the request with what the interceptors at ``submit`` made of it. Asked only if there are any.
    """

    name: str
    request: type[Any]
    reply: type[Any]
    handler: Callable[[Caller, Any], Awaitable[Any]]
    mode: Literal["reads", "changes", "keeps"] = "reads"
    callers: Literal["guests", "users", "admins"] = "users"
    summary: str = ""
    cost: int = 1
    screens: Screens | None = None

    def __attrs_post_init__(self) -> None:
        prepare(self.request, self.reply)


@frozen
class ContentKind:
    """A kind of message. ``body`` is an attrs class read by msgspec from the client's ``body``.

    ``preview(body)`` is one short line for lists and quotes. ``system``: no client may send it.
    ``searchable(body)`` is the text by which ``message.search`` finds a message; None: none. A plugin that keeps an
    index of its own asks `chat_server.im.kinds.Kinds.searchable`.
    """

    name: str
    body: type[Any]
    preview: Callable[[Any], str]
    system: bool = False
    editable: bool = False
    searchable: Callable[[Any], str] | None = None

    def __attrs_post_init__(self) -> None:
        prepare(self.body)


Point = Literal["frame_in", "command", "submit", "push"]


@frozen
class Interceptor:
    """May change or refuse what passes a point.

    ``handler(caller, value)`` returns the value that goes on (the same one, or another), or raises a `ChatError`
    to refuse. It is a plain function (fast path) or a coroutine function (then ``timeout``, in seconds, applies).
    Values: ``frame_in`` the client's frame; ``command`` the request record; ``submit`` the `SubmitMessage`, or as one
    whatever else a user says to others (edits, names, reactions …: see its ``target``); ``push`` the `Push` about to be
    encoded. Lower ``order`` runs first; built-ins stand at 0-999, plugins at 1000+.
    If it raises anything but a `ChatError` or times out: ``on_error`` ``open`` goes on with the value it was given,
    ``closed`` answers `Unavailable`. What it sends itself does not pass it again (recursion guard).
    """

    name: str
    point: Point
    handler: Callable[[Caller, Any], Any]
    order: int = 1000
    timeout: float = 1.0
    on_error: Literal["open", "closed"] = "closed"


@frozen
class Observer:
    """Told afterwards; can neither change nor fail anything. ``events`` are names such as ``message_stored``.

    ``handler(event, data)`` is a plain or coroutine function; what it raises is logged.
    """

    name: str
    events: Sequence[str]
    handler: Callable[[str, Any], Any]


@frozen
class Task:
    """Background work; runs while the server does, restarted with back-off when it raises.

    ``once``: of several servers on one database one runs it at a time. It is cancelled when that server loses its turn,
    and begun by another; for some seconds both may be at it, so it must bear being done twice.
    """

    name: str
    run: Callable[[Context], Awaitable[None]]
    once: bool = False


@frozen
class Ensured:
    """A function that runs after commit, at least once. ``arguments`` is an attrs class, stored as JSON.

    ``handler(arguments, key)`` gets the idempotency key. A call that takes longer than ``timeout`` seconds is cancelled
    and has failed; None: it may take what it takes.
    """

    name: str
    version: int
    arguments: type[Any]
    handler: Callable[[Any, str], Awaitable[None]]
    timeout: float | None = None

    def __attrs_post_init__(self) -> None:
        prepare(self.arguments)


@frozen
class Consumer:
    """A subscription to a topic, opened by the transaction plugin at start.

    ``handler(records)`` gets a batch of one shard, in order per key. ``on_failure``: when a record has failed
    ``attempts`` times, ``bury`` it as a dead letter and go on, or ``park`` its key until somebody acts. A call of the
    handler that takes longer than ``timeout`` seconds is cancelled and has failed; None: it may take what it takes.
    """

    topic: str
    group: str
    handler: Callable[[Sequence[BrokerRecord]], Awaitable[None]]
    batch: int = 100
    attempts: int = 10
    on_failure: Literal["bury", "park"] = "bury"
    timeout: float | None = None


@frozen
class ItemGrant:
    """When an item is given by itself. ``on``: at which event. ``when``: comparisons of the event's ``number`` (at a
    registration: which one it is, from 1 on), joined by ``and``, such as ``number <= 10``; empty: always. ``count``:
    how many."""

    on: Literal["user.registered"]
    when: str = ""
    count: int = 1


@frozen
class CatalogueItem:
    """Something that users can be given. ``item`` is its id for ever: at most 40 letters, digits, ``_`` and ``-``.

    ``kind``: a ``card`` is spent, a ``badge`` is worn, and owned once. ``names``: by language. ``picture``: an address.
    ``grant`` None: it is given by hand, or by a plugin.
    """

    item: str
    kind: Literal["card", "badge"]
    names: Mapping[str, str]
    picture: str = ""
    grant: ItemGrant | None = None


@frozen
class Tables:
    """The tables that a plugin owns: a SQLAlchemy ``MetaData`` (its names begin with ``chat_``) and the folder of its
    alembic revisions. ``owner`` names its version table, ``chat_version_<owner>``."""

    owner: str
    metadata: Any
    revisions: str


@frozen
class Push:
    """One counted push on its way to sessions. Its ``event`` and ``data`` are the same for every recipient.

    ``rev`` and ``since`` are the conversation's stamp; both 0 where the push carries a user's ``version`` instead.
    """

    event: str
    data: Any
    conversation: str | None = None
    rev: int = 0
    since: int = 0
    seq: int = 0
